package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/tidegate-io/tidegate/aggregator"
	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/enforcer"
	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/funnel"
	"github.com/tidegate-io/tidegate/internal/link"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/notifier"
)

// store is what the roles need of a store, together.
type store interface {
	aggregator.Store
	enforcer.Store
	fold.Store
	notifier.Store
	ingest.Store
	Ping(context.Context) error
	Close(context.Context) error
}

// startRoles owns the partitions of the roles asked for.
func (a *app) startRoles(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.onStop("roles", func(stop context.Context) error {
		cancel()
		done := make(chan struct{})
		go func() { a.supervisor.Wait(); close(done) }()
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return errors.New("partitions were not handed over in time; what is not committed is folded again")
		}
	})
	if a.set.has(roleAggregator) {
		opt := aggregator.Options{Partitions: a.partitions, Horizon: a.config.Load().Retention.Horizon,
			Store: a.store, Catalog: a.catalog.Load, Now: a.now}
		for p := range a.partitions {
			a.supervisor.Go(ctx, aggregator.Spec(a.names, p), func() stream.Processor { return aggregator.New(opt, p) })
		}
	}
	if a.set.has(roleEnforcer) {
		opt := enforcer.Options{Partitions: a.partitions, Store: a.store, Catalog: a.catalog.Load, Now: a.now, Link: a.upgradeLink}
		for p := range a.partitions {
			a.supervisor.Go(ctx, enforcer.Spec(a.names, p), func() stream.Processor { return enforcer.New(opt) })
		}
		a.startBilling(ctx)
		if err := a.startStripe(ctx); err != nil {
			return err
		}
	}
	if a.set.has(roleNotifier) {
		return a.startNotifier(ctx)
	}
	return nil
}

// upgradeLink is a customer's own address to upgrade at, which the role ingest
// serves.
func (a *app) upgradeLink(customer, feature string, windowStart, expires time.Time) string {
	token := link.Sign(a.set.Secret, link.Link{Kind: link.Upgrade, Customer: customer, Feature: feature, WindowStart: windowStart, Expires: expires})
	base := a.publicURL(a.config.Load())
	if token == "" || base == "" {
		return ""
	}
	return base + "/u/" + token
}

// publicURL is where browsers reach this Tidegate, "" if nobody has said so.
func (a *app) publicURL(c *config.Config) string {
	if c.PublicURL == "" && a.set.Dev {
		return "http://" + a.HTTPAddr // its links work on this machine
	}
	return c.PublicURL
}

// startBilling runs the subscription fold, one for all partitions.
func (a *app) startBilling(ctx context.Context) {
	spec := stream.Spec{Role: fold.Role, Inputs: []stream.Input{fold.Input(a.names)}}
	a.supervisor.Go(ctx, spec, func() stream.Processor {
		cfg := a.config.Load()
		p := fold.NewProcessor(billingConfig(cfg), a.partitions, a.store)
		a.billing.Store(p)
		if now := a.config.Load(); now != cfg { // edited in between
			p.Configure(billingConfig(now))
		}
		return p
	})
	a.metrics.RegisterMetricsWriter(func(w io.Writer) {
		if p := a.billing.Load(); p != nil {
			if f, owned := p.Figures(); owned {
				metrics.WriteGaugeUint64(w, "tidegate_stripe_unmapped_customers", uint64(f.Unmapped))
				metrics.WriteGaugeUint64(w, "tidegate_stripe_unknown_prices", uint64(f.Prices))
			}
		}
	})
	a.reconfigure = append(a.reconfigure, func(c *config.Config) {
		if p := a.billing.Load(); p != nil {
			p.Configure(billingConfig(c))
		}
	})
}

// billingConfig is the part of the configuration that the subscription fold
// depends on.
func billingConfig(c *config.Config) fold.Config {
	b := fold.Config{CustomerKey: c.Stripe.CustomerKey, Grace: c.Stripe.Grace, Plans: fold.Plans{
		LookupKeys: map[string]string{}, Prices: map[string]string{}, Products: map[string]string{}}}
	for _, p := range c.Plans {
		b.Plans.Order = append(b.Plans.Order, p.Name)
		if p.Default {
			b.Plans.Default = p.Name
		}
		if p.AnySubscription {
			b.Plans.Any = p.Name
		}
		for _, k := range p.Stripe.LookupKeys {
			b.Plans.LookupKeys[k] = p.Name
		}
		for _, k := range p.Stripe.Prices {
			b.Plans.Prices[k] = p.Name
		}
		for _, k := range p.Stripe.Products {
			b.Plans.Products[k] = p.Name
		}
	}
	return b
}

// startIngest opens the HTTP surface.
func (a *app) startIngest() error {
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
		Keys: a.set.Keys, Now: a.now, Log: a.log, Metrics: a.metrics,
		Verify: a.verifyStripe(), LinkSecret: a.set.Secret, Upgrade: upgradePage, UpgradeURL: func() string { return a.config.Load().Upgrade.URL },
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

func (a *app) verifyStripe() func([]byte, string) (string, string, error) {
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

// stored is what /readyz says of the store. Events are counted and decided
// without it.
func (a *app) stored(ctx context.Context) error {
	if err := a.store.Ping(ctx); err != nil {
		return ingest.Degraded{Err: err}
	}
	return nil
}

// readiness is what /readyz asks.
func (a *app) readiness() map[string]func(context.Context) error {
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
