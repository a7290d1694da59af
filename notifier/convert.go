package notifier

import (
	"context"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

const (
	// attributeWithin is how long before a payment the limit that led to it may
	// have been reached.
	attributeWithin = 30 * 24 * time.Hour
	// rememberPayments is how late a limit record may come after the payment
	// that it led to.
	rememberPayments = 35 * 24 * time.Hour
	// clockGrain is what a payment's time is rounded down to.
	clockGrain = time.Second
)

// attribute is the conversion that a payment is, joined with the limit that the
// customer reached last before it, and with what came of the mail about it.
func attribute(customer string, pay *events.Payment, notifications []events.Notification) events.Conversion {
	c := events.Conversion{
		Key: pay.Key, Customer: customer, FromPlan: pay.FromPlan, ToPlan: pay.ToPlan, StripeEvent: pay.Event,
		Amount: pay.Amount, Currency: pay.Currency, ConvertedAt: pay.At.UTC(),
	}
	before := func(t time.Time) bool { return t.Before(pay.At.Add(clockGrain)) }
	var last *events.Notification
	for i := range notifications {
		n := &notifications[i]
		if n.Customer != customer || n.Kind != events.LimitKindReached || !before(n.ReachedAt) ||
			n.ReachedAt.Before(pay.At.Add(-attributeWithin)) {
			continue
		}
		if last == nil || n.ReachedAt.After(last.ReachedAt) || n.ReachedAt.Equal(last.ReachedAt) && n.Key > last.Key {
			last = n
		}
	}
	if last == nil {
		return c
	}
	reached := last.ReachedAt
	c.Feature, c.LimitReachedAt = last.Feature, &reached
	if mailed(last) && last.SentAt != nil && before(*last.SentAt) {
		c.MailedAt = last.SentAt
	}
	if last.ClickedAt != nil && before(*last.ClickedAt) {
		c.ClickedAt = last.ClickedAt
	}
	return c
}

// payment stores a conversion, or takes back one that turned out to be none.
func (p *Processor) payment(customer string, pay *events.Payment, now time.Time) error {
	c := p.change(customer)
	c.Payments = slices.DeleteFunc(slices.Clone(c.Payments), func(old events.Payment) bool {
		return old.Key == pay.Key || now.Sub(old.At) > rememberPayments
	})
	if pay.Void {
		return p.try("delete conversion", func(ctx context.Context) error { return p.Store.DeleteConversion(ctx, pay.Key) })
	}
	c.Payments = append(c.Payments, *pay)
	return p.convert(customer, pay)
}

func (p *Processor) convert(customer string, pay *events.Payment) error {
	return p.try("write conversion", func(ctx context.Context) error {
		all, err := p.Store.NotificationsOf(ctx, customer)
		if err != nil {
			return err
		}
		return p.Store.WriteConversion(ctx, attribute(customer, pay, all))
	})
}

// attributeAgain repeats the attribution of a customer's recent payments, for
// limits and payments come in different streams and in any order.
func (p *Processor) attributeAgain(customer string) error {
	for _, pay := range p.known(customer).Payments {
		if err := p.convert(customer, &pay); err != nil {
			return err
		}
	}
	return nil
}
