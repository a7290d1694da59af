package records

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// Window is a document of the collection usage: one customer's use of one
// feature in one window.
type Window struct {
	Customer  string           `json:"customer"`
	Feature   string           `json:"feature"`
	Plan      string           `json:"plan"`
	Start     time.Time        `json:"window_start"` // rolling: zero (one document)
	End       time.Time        `json:"window_end"`
	Current   bool             `json:"current"`
	Used      events.Value     `json:"used"`
	Limit     events.NullValue `json:"limit"`
	Events    int64            `json:"events"`
	FirstAt   time.Time        `json:"first_at"`
	LastAt    time.Time        `json:"last_at"`
	Partition int              `json:"partition"`
	Epoch     uint64           `json:"epoch"` // of the aggregator that wrote it
	Seq       uint64           `json:"seq"`   // sequence in USAGE of its last change
	Buckets   []gate.Bucket    `json:"buckets,omitempty"`
}

// ID returns <customer>/<feature>/<window start, RFC 3339>. A rolling window has no
// start; its ID ends in "rolling".
func (w *Window) ID() string {
	if w.Start.IsZero() {
		return w.Customer + "/" + w.Feature + "/rolling"
	}
	var buf [128]byte
	b := append(append(buf[:0], w.Customer...), '/')
	b = append(append(b, w.Feature...), '/')
	return string(w.Start.UTC().AppendFormat(b, time.RFC3339Nano))
}

// Customer is a document of the collection customers.
type Customer struct {
	ID             string                   `json:"customer"`
	Email          string                   `json:"email,omitempty"`        // from the app
	StripeEmail    string                   `json:"stripe_email,omitempty"` // used when the app gave none
	Locale         string                   `json:"locale,omitempty"`
	StripeCustomer string                   `json:"stripe_customer,omitempty"`
	Plan           string                   `json:"plan"`               // in force
	PinnedPlan     string                   `json:"pinned,omitempty"`   // set by the operator
	Anchor         *time.Time               `json:"anchor,omitempty"`   // explicit
	Overrides      map[string]gate.Override `json:"overrides"`          // by feature
	Suppressed     string                   `json:"suppressed"`         // why no mail may go out, or ""
	Position       uint64                   `json:"position,omitempty"` // sequence in ACCOUNT of its last change
	UpdatedAt      time.Time                `json:"updated_at"`
}

// Address returns the address for mail to the customer, or "".
func (c *Customer) Address() string {
	if c.Email != "" {
		return c.Email
	}
	return c.StripeEmail
}

// Subscription is a document of the collection subscriptions.
type Subscription struct {
	Customer         string               `json:"customer"`
	Plan             string               `json:"plan"`
	Status           string               `json:"status"`
	StripeCustomer   string               `json:"stripe_customer"`
	Subscriptions    []StripeSubscription `json:"stripe_subscriptions"`
	CurrentPeriodEnd *time.Time           `json:"current_period_end"`
	CancelAt         *time.Time           `json:"cancel_at"`
	GraceUntil       *time.Time           `json:"grace_until"`
	History          []PlanChange         `json:"history"`
	Position         uint64               `json:"position"` // sequence in BILLING of the newest record in it
}

// StripeSubscription is one subscription of a customer at Stripe.
type StripeSubscription struct {
	ID               string     `json:"id"`
	Status           string     `json:"status"`
	Prices           []string   `json:"prices"`
	Plan             string     `json:"plan"`
	CurrentPeriodEnd *time.Time `json:"current_period_end"`
	CancelAt         *time.Time `json:"cancel_at"`
}

// PlanChange is an entry of a subscription's history.
type PlanChange struct {
	Plan   string    `json:"plan"`
	Status string    `json:"status"`
	Event  string    `json:"event"`
	At     time.Time `json:"at"`
}

// MailState is the state of a notification.
type MailState string

// The states of a notification.
const (
	MailWaiting    MailState = "waiting"    // for an address
	MailPending    MailState = "pending"    // to be sent; rendered at the first attempt
	MailParked     MailState = "parked"     // the provider refuses for now (quota, key): the operator must act
	MailSent       MailState = "sent"       // the provider accepted it
	MailDelivered  MailState = "delivered"  // the recipient's server accepted it
	MailBounced    MailState = "bounced"    // the recipient's server refused it
	MailComplained MailState = "complained" // the recipient called it spam
	MailSuppressed MailState = "suppressed" // the provider accepted it, but does not send to this address
	MailCancelled  MailState = "cancelled"  // no longer wanted, and was not sent; Error says why
	MailFailed     MailState = "failed"     // will never be sent; Error says why
	MailUncertain  MailState = "uncertain"  // no further attempt, but an earlier one may have been sent
	MailNone       MailState = "none"       // the limit was reached; no mail is configured or wanted
)

// Notification is a document of the collection notifications: one crossing of a
// threshold and its mail.
type Notification struct {
	Key         string       `json:"key"` // its _id and the mail's idempotency key
	Customer    string       `json:"customer"`
	Feature     string       `json:"feature"`
	Kind        LimitKind    `json:"kind"`
	Percent     int          `json:"percent"`
	Plan        string       `json:"plan"`
	Limit       events.Value `json:"limit"`
	WindowStart time.Time    `json:"window_start"`
	WindowEnd   time.Time    `json:"window_end"`
	ReachedAt   time.Time    `json:"reached_at"`
	State       MailState    `json:"state"`
	To          string       `json:"to"`
	Subject     string       `json:"subject"`
	Body        []byte       `json:"body,omitempty"` // the exact request bytes, until sent + 30 days
	Attempts    int          `json:"attempts"`
	FirstTryAt  *time.Time   `json:"first_try_at"` // the first attempt that may have been sent: the idempotency key's life begins here
	NextAt      *time.Time   `json:"next_at"`
	ProviderID  string       `json:"provider_id"`
	Error       string       `json:"error"`
	SentAt      *time.Time   `json:"sent_at"`
	DeliveredAt *time.Time   `json:"delivered_at"`
	ClickedAt   *time.Time   `json:"clicked_at"`
}

// Mailed reports whether the mail was certainly sent to the recipient.
func (n *Notification) Mailed() bool {
	switch n.State {
	case MailSent, MailDelivered, MailBounced, MailComplained:
		return true
	}
	return false
}

// Conversion is a document of the collection conversions: one move of a
// customer.
type Conversion struct {
	Key            string     `json:"key"`
	Kind           MoveKind   `json:"kind"`
	Customer       string     `json:"customer"`
	FromPlan       string     `json:"from_plan"`
	ToPlan         string     `json:"to_plan"`
	StripeEvent    string     `json:"stripe_event"`
	Amount         int64      `json:"amount"`
	Currency       string     `json:"currency"`
	Feature        string     `json:"feature"` // the feature whose limit was reached last before
	LimitReachedAt *time.Time `json:"limit_reached_at"`
	MailedAt       *time.Time `json:"mailed_at"`
	ClickedAt      *time.Time `json:"clicked_at"`
	ConvertedAt    time.Time  `json:"converted_at"`
}
