package app

import (
	"context"
	"errors"
	"time"

	"github.com/tidegate-io/tidegate/aggregator"
	"github.com/tidegate-io/tidegate/enforcer"
	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/config"
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
func (a *App) startRoles(ctx context.Context) error {
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
	if a.set.has(RoleAggregator) {
		opt := aggregator.Options{Partitions: a.partitions, Horizon: a.config.Load().Retention.Horizon,
			Store: a.store, Catalog: a.catalog.Load, Now: a.now}
		for p := range a.partitions {
			a.supervisor.Go(ctx, aggregator.Spec(a.names, p), func() stream.Processor { return aggregator.New(opt, p) })
		}
	}
	if a.set.has(RoleEnforcer) {
		opt := enforcer.Options{Partitions: a.partitions, Store: a.store, Catalog: a.catalog.Load, Now: a.now, Link: a.upgradeLink,
			Repaired: a.metrics.NewCounter("tidegate_decisions_repaired_total").Add, CompareEvery: a.config.Load().Decisions.Compare}
		for p := range a.partitions {
			a.supervisor.Go(ctx, enforcer.Spec(a.names, p), func() stream.Processor { return enforcer.New(opt) })
		}
		a.startBilling(ctx)
		if err := a.startStripe(ctx); err != nil {
			return err
		}
	}
	if a.set.has(RoleNotifier) {
		return a.startNotifier(ctx)
	}
	return nil
}

// upgradeLink is a customer's own address to upgrade at, which the role ingest
// serves.
func (a *App) upgradeLink(customer, feature string, windowStart, expires time.Time) string {
	token := link.Sign(a.set.Secret, link.Link{Kind: link.Upgrade, Customer: customer, Feature: feature, WindowStart: windowStart, Expires: expires})
	base := a.publicURL(a.config.Load())
	if token == "" || base == "" {
		return ""
	}
	return base + "/u/" + token
}

// publicURL is where browsers reach this Tidegate, "" if nobody has said so.
func (a *App) publicURL(c *config.Config) string {
	if c.PublicURL == "" && a.embedded {
		return a.URL() // its links work on this machine
	}
	return c.PublicURL
}
