package app

import (
	"context"
	"io"

	"github.com/VictoriaMetrics/metrics"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// startBilling runs the subscription fold, one for all partitions.
func (a *App) startBilling(ctx context.Context) {
	spec := stream.Spec{Role: stream.RoleBilling, Inputs: []stream.Input{fold.Input(a.names)}}
	a.supervisor.Go(ctx, spec, func() stream.Processor {
		cfg := a.config.Load()
		p := fold.NewProcessor(BillingConfig(cfg), a.partitions, a.store)
		a.billing.Store(p)
		if now := a.config.Load(); now != cfg { // edited in between
			p.Configure(BillingConfig(now))
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
			p.Configure(BillingConfig(c))
		}
	})
}

// BillingConfig returns the part of the configuration that the subscription fold
// depends on.
func BillingConfig(c *config.Config) fold.Config {
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
