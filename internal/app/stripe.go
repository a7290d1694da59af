package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/link"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	stripeapi "github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/stripe/refetch"
)

// stripeRate is how many requests a second are sent in the background: a fifth
// of what Stripe takes, which the operator's other programs share.
const stripeRate = 20

// startStripe fetches again what webhooks speak of, where there is a key.
func (a *App) startStripe(ctx context.Context) error {
	if a.set.StripeKey == "" {
		return nil
	}
	c, err := stripeapi.New(stripeapi.Options{Key: a.set.StripeKey, Base: a.set.StripeBase, Rate: stripeRate})
	if err != nil {
		return err
	}
	opt := refetch.Options{Stripe: c, Now: a.now, Metrics: a.metrics,
		Reconcile: func() time.Duration { return a.config.Load().Stripe.Reconcile }}
	spec := stream.Spec{Role: stream.RoleStripe, Inputs: []stream.Input{refetch.Input(a.names)}}
	a.supervisor.Go(ctx, spec, func() stream.Processor { return refetch.New(opt) })
	return nil
}

// upgradePage makes the page on which a customer pays, at the moment of the
// click; nil without a key.
func (a *App) upgradePage() (func(context.Context, link.Link) (string, error), error) {
	if a.set.StripeKey == "" {
		return nil, nil
	}
	c, err := stripeapi.New(stripeapi.Options{Key: a.set.StripeKey, Base: a.set.StripeBase, Timeout: 4 * time.Second, Retries: 1, Rate: stripeRate})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, l link.Link) (string, error) {
		cfg := a.config.Load()
		if cfg.Upgrade.Price == "" && !cfg.Upgrade.Portal {
			return "", nil
		}
		sub, err := a.subscription(ctx, l.Customer)
		if err != nil {
			return "", fmt.Errorf("whether the customer pays already is not known: %w", err)
		}
		return c.Page(ctx, stripeapi.Visit{
			Subscribed: slices.ContainsFunc(sub.Subscriptions, alive), Portal: cfg.Upgrade.Portal,
			Checkout: stripeapi.Checkout{
				Customer: l.Customer, CustomerKey: cfg.Stripe.CustomerKey, StripeCustomer: sub.StripeCustomer, Email: a.address(ctx, l.Customer),
				Price: cfg.Upgrade.Price, Since: bought(sub.Subscriptions), SuccessURL: cmp.Or(cfg.Upgrade.SuccessURL, cfg.Upgrade.URL), CancelURL: cmp.Or(cfg.Upgrade.CancelURL, cfg.Upgrade.URL),
			},
		}, a.now())
	}, nil
}

// bought names the subscriptions of a customer and how they stand.
func bought(list []records.StripeSubscription) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s.ID + "=" + s.Status + ",")
	}
	return b.String()
}

// alive says whether a subscription goes on, paid or not: beside it, another one
// would be charged.
func alive(s records.StripeSubscription) bool {
	return slices.Contains([]string{"active", "trialing", "past_due", "unpaid", "paused"}, s.Status)
}

// subscription is what is known of a customer's payments: by the fold, else by
// the document.
func (a *App) subscription(ctx context.Context, customer string) (records.Subscription, error) {
	ask, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	answer, err := fold.SubscriptionQuestion.Ask(ask, a.asker(), 0, customer)
	switch {
	case err == nil && answer.Subscription != nil:
		return *answer.Subscription, nil
	case err == nil:
		return records.Subscription{}, nil
	}
	sub, _, err := a.store.Subscription(ctx, customer)
	return sub, err
}

// address is where the customer gets mail, to be filled in: by the partition's
// owner, else by the document; "" when it is not known.
func (a *App) address(ctx context.Context, customer string) string {
	ask, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	answer, err := questions.StandingOf.Ask(ask, a.asker(), events.PartitionOf(customer, a.partitions), customer)
	if err != nil {
		answer.Customer, _, err = a.store.Customer(ctx, customer)
	}
	if err != nil {
		a.log.Debug("the customer's address is not filled in", "error", err)
	}
	return cmp.Or(answer.Customer.Email, answer.Customer.StripeEmail)
}

// asker asks the owners of partitions.
func (a *App) asker() stream.Asker { return stream.Asker{NC: a.nc, Names: a.names} }
