package mongo

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// The documents. Each has a conversion from and to its type in records, so that a
// change of that type cannot change the stored form unnoticed.

type usageDoc struct {
	ID          string      `bson:"_id"`
	Customer    string      `bson:"customer"`
	Feature     string      `bson:"feature"`
	Plan        string      `bson:"plan"`
	WindowStart *time.Time  `bson:"window_start"`
	WindowEnd   *time.Time  `bson:"window_end"`
	Current     bool        `bson:"current"`
	Used        amount      `bson:"used"`
	Limit       optional    `bson:"limit"`
	Events      int64       `bson:"events"`
	FirstAt     *time.Time  `bson:"first_at"`
	LastAt      *time.Time  `bson:"last_at"`
	Partition   int         `bson:"partition"`
	Epoch       int64       `bson:"epoch"`
	Seq         int64       `bson:"seq"`
	Buckets     []bucketDoc `bson:"buckets,omitempty"`
}

type bucketDoc struct {
	Start time.Time `bson:"start"`
	Used  amount    `bson:"used"`
}

func newUsageDoc(w *records.Window) usageDoc {
	d := usageDoc{
		ID: w.ID(), Customer: w.Customer, Feature: w.Feature, Plan: w.Plan,
		WindowStart: records.Moment(w.Start), WindowEnd: records.Moment(w.End), Current: w.Current,
		Used: amount(w.Used), Limit: optionally(w.Limit), Events: w.Events, FirstAt: records.Moment(w.FirstAt), LastAt: records.Moment(w.LastAt),
		Partition: w.Partition, Epoch: int64(w.Epoch), Seq: int64(w.Seq),
	}
	for _, b := range w.Buckets {
		d.Buckets = append(d.Buckets, bucketDoc{Start: b.Start, Used: amount(b.Used)})
	}
	return d
}

func (d usageDoc) record() records.Window {
	w := records.Window{
		Customer: d.Customer, Feature: d.Feature, Plan: d.Plan,
		Start: orZero(d.WindowStart), End: orZero(d.WindowEnd), Current: d.Current,
		Used: events.Value(d.Used), Limit: d.Limit.value(), Events: d.Events, FirstAt: orZero(d.FirstAt), LastAt: orZero(d.LastAt),
		Partition: d.Partition, Epoch: uint64(d.Epoch), Seq: uint64(d.Seq),
	}
	for _, b := range d.Buckets {
		w.Buckets = append(w.Buckets, gate.Bucket{Start: b.Start, Used: events.Value(b.Used)})
	}
	return w
}

type customerDoc struct {
	ID             string                 `bson:"_id"`
	Customer       string                 `bson:"customer"`
	Email          string                 `bson:"email"`
	StripeEmail    string                 `bson:"stripe_email"`
	Locale         string                 `bson:"locale"`
	StripeCustomer string                 `bson:"stripe_customer"`
	Plan           string                 `bson:"plan"`
	Pinned         string                 `bson:"pinned"`
	Anchor         *time.Time             `bson:"anchor"`
	Overrides      map[string]overrideDoc `bson:"overrides"` // by feature, escaped
	Suppressed     string                 `bson:"suppressed"`
	Position       int64                  `bson:"position"`
	UpdatedAt      *time.Time             `bson:"updated_at"`
}

type overrideDoc struct {
	Limit  optional   `bson:"limit,omitempty"`
	Grant  optional   `bson:"grant,omitempty"`
	Until  *time.Time `bson:"until,omitempty"`
	Reason string     `bson:"reason,omitempty"`
	At     *time.Time `bson:"at,omitempty"`

	Unlimited bool `bson:"unlimited,omitempty"`
}

func newCustomerDoc(c *records.Customer) customerDoc {
	d := customerDoc{
		ID: c.ID, Customer: c.ID, Email: c.Email, StripeEmail: c.StripeEmail, Locale: c.Locale, StripeCustomer: c.StripeCustomer,
		Plan: c.Plan, Pinned: c.PinnedPlan, Anchor: c.Anchor, Overrides: make(map[string]overrideDoc, len(c.Overrides)),
		Suppressed: c.Suppressed, Position: int64(c.Position), UpdatedAt: records.Moment(c.UpdatedAt),
	}
	for feature, o := range c.Overrides {
		d.Overrides[fieldEscape.Replace(feature)] = overrideDoc{
			Limit: optionalPtr(o.Limit), Grant: optionalPtr(o.Grant), Until: o.Until, Reason: o.Reason, At: o.At, Unlimited: o.Unlimited,
		}
	}
	return d
}

func (d customerDoc) record() records.Customer {
	c := records.Customer{
		ID: d.ID, Email: d.Email, StripeEmail: d.StripeEmail, Locale: d.Locale, StripeCustomer: d.StripeCustomer,
		Plan: d.Plan, PinnedPlan: d.Pinned, Anchor: d.Anchor, Suppressed: d.Suppressed,
		Position: uint64(d.Position), UpdatedAt: orZero(d.UpdatedAt),
	}
	for field, o := range d.Overrides {
		if c.Overrides == nil {
			c.Overrides = make(map[string]gate.Override, len(d.Overrides))
		}
		c.Overrides[fieldUnescape.Replace(field)] = gate.Override{
			Limit: o.Limit.ptr(), Grant: o.Grant.ptr(), Until: o.Until, Reason: o.Reason, At: o.At, Unlimited: o.Unlimited,
		}
	}
	return c
}

type subscriptionDoc struct {
	ID               string      `bson:"_id"`
	Customer         string      `bson:"customer"`
	Plan             string      `bson:"plan"`
	Status           string      `bson:"status"`
	StripeCustomer   string      `bson:"stripe_customer"`
	Subscriptions    []stripeDoc `bson:"stripe_subscriptions"`
	CurrentPeriodEnd *time.Time  `bson:"current_period_end"`
	CancelAt         *time.Time  `bson:"cancel_at"`
	GraceUntil       *time.Time  `bson:"grace_until"`
	History          []changeDoc `bson:"history"`
	Position         int64       `bson:"position"`
}

type stripeDoc struct {
	ID               string     `bson:"id"`
	Status           string     `bson:"status"`
	Prices           []string   `bson:"prices"`
	Plan             string     `bson:"plan"`
	CurrentPeriodEnd *time.Time `bson:"current_period_end"`
	CancelAt         *time.Time `bson:"cancel_at"`
}

type changeDoc struct {
	Plan   string     `bson:"plan"`
	Status string     `bson:"status"`
	Event  string     `bson:"event"`
	At     *time.Time `bson:"at"`
}

func newSubscriptionDoc(s *records.Subscription) subscriptionDoc {
	d := subscriptionDoc{
		ID: s.Customer, Customer: s.Customer, Plan: s.Plan, Status: s.Status, StripeCustomer: s.StripeCustomer,
		Subscriptions:    make([]stripeDoc, 0, len(s.Subscriptions)),
		CurrentPeriodEnd: s.CurrentPeriodEnd, CancelAt: s.CancelAt, GraceUntil: s.GraceUntil,
		History: make([]changeDoc, 0, len(s.History)), Position: int64(s.Position),
	}
	for _, x := range s.Subscriptions {
		d.Subscriptions = append(d.Subscriptions, stripeDoc{
			ID: x.ID, Status: x.Status, Prices: append([]string{}, x.Prices...), Plan: x.Plan,
			CurrentPeriodEnd: x.CurrentPeriodEnd, CancelAt: x.CancelAt,
		})
	}
	for _, h := range s.History {
		d.History = append(d.History, changeDoc{Plan: h.Plan, Status: h.Status, Event: h.Event, At: records.Moment(h.At)})
	}
	return d
}

func (d subscriptionDoc) record() records.Subscription {
	s := records.Subscription{
		Customer: d.Customer, Plan: d.Plan, Status: d.Status, StripeCustomer: d.StripeCustomer,
		CurrentPeriodEnd: d.CurrentPeriodEnd, CancelAt: d.CancelAt, GraceUntil: d.GraceUntil, Position: uint64(d.Position),
	}
	for _, x := range d.Subscriptions {
		s.Subscriptions = append(s.Subscriptions, records.StripeSubscription(x))
	}
	for _, h := range d.History {
		s.History = append(s.History, records.PlanChange{Plan: h.Plan, Status: h.Status, Event: h.Event, At: orZero(h.At)})
	}
	return s
}
