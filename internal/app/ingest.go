package app

import (
	"context"
	"errors"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/funnel"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// startIngest opens the HTTP surface.
func (a *App) startIngest() error {
	cache, err := client.New(a.nc, client.Namespace(a.names.Namespace), client.Source("tidegate"), client.Logger(a.log))
	if err != nil {
		return err
	}
	a.cache = cache
	a.onStop("decisions", cache.Close)
	upgradePage, err := a.upgradePage()
	if err != nil {
		return err
	}
	srv := ingest.New(ingest.Options{
		JS: a.js, NC: a.nc, Names: a.names, Partitions: a.partitions, Horizon: a.config.Load().Retention.Horizon,
		Catalog: a.catalog.Load, Decisions: cache, Store: a.store,
		Keys: func() ingest.Keys { return *a.keys.Load() }, Bounds: a.bounds, Now: a.now, Log: a.log, Metrics: a.metrics,
		Verify: a.verifyStripe(), LinkSecrets: append([][]byte{a.set.Secret}, a.set.OldSecrets...), Upgrade: upgradePage, UpgradeURL: func() string { return a.config.Load().Upgrade.URL },
		Funnel: funnel.Answer,
		Resend: a.resendWebhook(),
		Ready:  a.readiness(),
	})
	a.closers, a.listeners = append(a.closers, a.listeners...), nil
	a.onStop("streams of decisions", func(context.Context) error { srv.Close(); return nil })
	handler, public := srv.Handler(), srv.PublicHandler()
	a.handler.Store(&handler)
	a.public.Store(&public)
	return nil
}

func (a *App) verifyStripe() func([]byte, string) (string, string, error) {
	if len(a.set.StripeSecrets) == 0 {
		return nil
	}
	return func(payload []byte, header string) (string, string, error) {
		e, err := fold.Verify(payload, header, a.set.StripeSecrets, a.now())
		if err == nil {
			err = e.CheckMode(a.set.StripeMode)
		}
		return e.ID, e.Type, err
	}
}

// bounds are those of the configuration in force.
func (a *App) bounds() *ingest.Bounds { return (*ingest.Bounds)(&a.config.Load().HTTP) }

// stored is what /readyz says of the store. Events are counted and decided
// without it.
func (a *App) stored(ctx context.Context) error {
	if err := a.store.Ping(ctx); err != nil {
		return ingest.Degraded{Err: err}
	}
	return nil
}

// readiness is what /readyz asks.
func (a *App) readiness() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"nats":       func(ctx context.Context) error { return a.nc.FlushWithContext(ctx) },
		"store":      a.stored,
		"partitions": func(context.Context) error { return a.supervisor.Ready() },
		"owners":     a.owners,
		"decisions": func(context.Context) error {
			if !a.cache.Ready() {
				return errors.New("the cache has not been filled yet")
			}
			return nil
		},
	}
}
