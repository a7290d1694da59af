package notifier

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

const (
	// rememberPayments is how long a payment waits for the record of the limit that
	// led to it.
	rememberPayments = 35 * 24 * time.Hour
	// clockGrain is the unit to which Stripe rounds a payment's time down.
	clockGrain = time.Second
)

// attribute returns the record of a move. When the move gains something, attribute
// joins it with the last limit that the customer reached before it, at most within
// earlier, and with the last mail and the last click about that window. The result
// depends only on the arguments, and not on the order of the notifications.
func attribute(customer string, pay *records.Payment, notifications []records.Notification, within time.Duration) records.Conversion {
	c := records.Conversion{
		Key: pay.Key, Kind: pay.Kind, Customer: customer, FromPlan: pay.FromPlan, ToPlan: pay.ToPlan, StripeEvent: pay.Event,
		Amount: pay.Amount, Currency: pay.Currency, ConvertedAt: pay.At.UTC(),
	}
	if !gains(c.Kind) {
		return c
	}
	before := func(t *time.Time) bool { return t != nil && t.Before(pay.At.Add(clockGrain)) }
	var last *records.Notification
	for i := range notifications {
		n := &notifications[i]
		if n.Customer != customer || n.Kind != records.LimitKindReached || !before(&n.ReachedAt) ||
			n.ReachedAt.Before(pay.At.Add(-within)) {
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
	latest := func(to **time.Time, t *time.Time) {
		if before(t) && (*to == nil || t.After(**to)) {
			*to = t
		}
	}
	for i := range notifications {
		n := &notifications[i]
		if n.Customer != customer || n.Feature != last.Feature || !n.WindowStart.Equal(last.WindowStart) {
			continue
		}
		if n.Mailed() {
			latest(&c.MailedAt, n.SentAt)
		}
		latest(&c.ClickedAt, n.ClickedAt)
	}
	return c
}

// gains reports whether a limit may have led to moves of a kind.
func gains(k records.MoveKind) bool {
	switch k {
	case records.MoveConversion, records.MoveReactivation, records.MoveTrial, records.MoveUpgrade:
		return true
	}
	return false
}

// movesOf returns the moves in a record, all in the form of payments.
func movesOf(a *records.Account) (all []records.Payment) {
	if a.Payment != nil {
		all = append(all, *a.Payment)
	}
	if m := a.Move; m != nil {
		all = append(all, records.Payment{Key: m.Key, Kind: m.Kind, Event: m.Event, FromPlan: m.FromPlan, ToPlan: m.ToPlan, At: m.At, Void: m.Void})
	}
	if r := a.Refund; r != nil {
		kind := records.MoveRefund
		if r.Dispute {
			kind = records.MoveDispute
		}
		// A charge may turn out to be another customer's, so the key names the customer.
		all = append(all, records.Payment{Key: a.Customer + "/" + r.Key, Kind: kind, Event: r.Event, Amount: r.Amount, Currency: r.Currency, At: r.At, Void: r.Void})
	}
	return all
}

// applyPayment stores the record of a move, or deletes that of a move that turned
// out to be none.
func (p *Processor) applyPayment(customer string, pay *records.Payment, now time.Time) error {
	c := p.changing(customer)
	pay.Kind = cmp.Or(pay.Kind, records.MoveConversion)
	c.Payments = slices.DeleteFunc(slices.Clone(c.Payments), func(old records.Payment) bool {
		return old.Key == pay.Key || now.Sub(old.At) > rememberPayments
	})
	if pay.Void {
		return p.callStore("delete conversion", func(ctx context.Context) error { return p.Store.DeleteConversion(ctx, pay.Key) })
	}
	if gains(pay.Kind) {
		c.Payments = append(c.Payments, *pay)
	}
	return p.convert(customer, pay)
}

// convert attributes a move and writes its record.
func (p *Processor) convert(customer string, pay *records.Payment) error {
	return p.callStore("write conversion", func(ctx context.Context) error {
		all, err := p.Store.NotificationsOf(ctx, customer)
		if err != nil {
			return err
		}
		return p.Store.WriteConversion(ctx, attribute(customer, pay, all, p.live.Load().ConvertWithin))
	})
}

// attributeAgain attributes a customer's recent payments again, because limits and
// payments come in different streams and in any order.
func (p *Processor) attributeAgain(customer string) error {
	for _, pay := range p.known(customer).Payments {
		if err := p.convert(customer, &pay); err != nil {
			return err
		}
	}
	return nil
}
