// Package records defines the records of Tidegate's streams and the documents of its
// stores, which its roles write for each other. Package events defines the messages
// from and to apps.
package records

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// WindowTotal is the total of one window, which the aggregator emits to the enforcer.
// A newer total of the same window has a greater (Generation, Position).
type WindowTotal struct {
	_          struct{}      `cbor:",toarray"`
	Customer   string        // raw id
	Feature    string        // gate
	Generation uint64        // grows when a replay rebuilds windows
	Position   uint64        // sequence in USAGE of the message that changed it
	Index      int           // number of the change within that message
	Start      time.Time     // window, inclusive; rolling: start of its first bucket
	End        time.Time     // exclusive; rolling: zero
	Used       events.Value  // total; rolling: zero, see Buckets
	Buckets    []gate.Bucket // rolling only, by start
	StoredAt   time.Time     // of that message
	Silent     bool          // from an import or a new configuration: no mail when it blocks
	Cut        time.Time     // the newest cut that the aggregator knew when it emitted this; zero: none
}

// Account is one change of a customer's account, from the gateway or from the
// subscription fold. Absent fields do not change. It is stored as JSON in ACCOUNT, and
// its time is the message's.
type Account struct {
	Customer       string                    `json:"customer,omitempty"`
	Email          *string                   `json:"email,omitempty"`
	EmailSource    string                    `json:"email_source,omitempty"` // "" is the app, which wins; else "stripe"
	Locale         *string                   `json:"locale,omitempty"`
	StripeCustomer *string                   `json:"stripe_customer,omitempty"`
	Anchor         *time.Time                `json:"anchor,omitempty"`
	Plan           *PlanPin                  `json:"plan,omitempty"`
	Overrides      map[string]*gate.Override `json:"overrides,omitempty"` // null removes one
	Suppress       *string                   `json:"suppress,omitempty"`  // why no mail may go out; "" allows mail again
	Erase          bool                      `json:"erase,omitempty"`     // personal data only; counts stay
	Subscription   *PlanState                `json:"subscription,omitempty"`
	Payment        *Payment                  `json:"payment,omitempty"`
	Refund         *Refund                   `json:"refund,omitempty"`
	Click          *Click                    `json:"click,omitempty"`
	Mail           *MailReport               `json:"mail,omitempty"`
	Move           *Move                     `json:"move,omitempty"`
	Gate           *GateSwitch               `json:"gate,omitempty"` // only on partition 0, without a customer
}

// PlanPin is a plan that the operator sets. An empty one removes it, so that Stripe
// decides again.
type PlanPin struct {
	Name string `json:"name"`
}

// PlanState is a customer's plan and status, from the subscription fold.
type PlanState struct {
	Plan     string    `json:"plan"` // "" without a subscription in force: the default plan
	Status   string    `json:"status"`
	Paid     bool      `json:"paid"`               // whether the customer has paid access
	Position uint64    `json:"position"`           // sequence in BILLING that it is the result of
	Event    string    `json:"event,omitempty"`    // the Stripe event that caused it
	CausedAt time.Time `json:"caused_at,omitzero"` // when that happened, by Stripe's clock
}

// Payment is a first payment above 0 that moves a customer from a free to a
// paid plan.
type Payment struct {
	Key      string    `json:"key"`            // identity of the conversion
	Kind     MoveKind  `json:"kind,omitempty"` // conversion, which "" stands for, or reactivation
	Event    string    `json:"event"`
	FromPlan string    `json:"from_plan"`
	ToPlan   string    `json:"to_plan"`
	Amount   int64     `json:"amount"`   // in the currency's smallest unit
	Currency string    `json:"currency"` // lower-case ISO 4217
	At       time.Time `json:"at"`
	Void     bool      `json:"void,omitempty"` // a late event showed that this did not happen: remove the key
}

// Refund is money that went back to a customer, or that a customer disputes.
type Refund struct {
	Key      string    `json:"key"` // the charge's or the dispute's id
	Event    string    `json:"event"`
	Amount   int64     `json:"amount"`   // all refunds of the charge together, in the currency's smallest unit
	Currency string    `json:"currency"` // lower-case ISO 4217
	At       time.Time `json:"at"`
	Dispute  bool      `json:"dispute,omitempty"`
	Void     bool      `json:"void,omitempty"` // it is another customer's: remove the key
}

// Click is a visit to the upgrade link.
type Click struct {
	Feature     string    `json:"feature"`
	WindowStart time.Time `json:"window_start,omitzero"`
}

// Move is a move of a customer between plans that is not a first payment.
type Move struct {
	Key      string    `json:"key"` // identity of the move
	Kind     MoveKind  `json:"kind"`
	Event    string    `json:"event"` // the Stripe event that caused it
	FromPlan string    `json:"from_plan"`
	ToPlan   string    `json:"to_plan"`
	At       time.Time `json:"at"`
	Void     bool      `json:"void,omitempty"` // a late event showed that this did not happen: remove the key
}

// MoveKind is the kind of a move, also in the collection conversions.
type MoveKind string

// The kinds of moves.
const (
	MoveConversion   MoveKind = "conversion"   // the first payment above 0 that moves from a free to a paid plan
	MoveReactivation MoveKind = "reactivation" // paid again, after a time without paid access
	MoveTrial        MoveKind = "trial"        // a trial began
	MoveUpgrade      MoveKind = "upgrade"      // from a paid plan to a higher one
	MoveDowngrade    MoveKind = "downgrade"    // from a paid plan to a lower one
	MoveChurn        MoveKind = "churn"        // paid access ended
	MoveRefund       MoveKind = "refund"       // money went back
	MoveDispute      MoveKind = "dispute"      // the customer disputes a charge
)

// MailReport is the provider's report about a mail that it accepted.
type MailReport struct {
	Key    string    `json:"key"` // of its notification
	Event  MailEvent `json:"event"`
	At     time.Time `json:"at"`
	Detail string    `json:"detail,omitempty"`
}

// MailEvent is an event of a mail.
type MailEvent string

// The events of a mail.
const (
	MailEventSent       MailEvent = "sent"
	MailEventFailed     MailEvent = "failed"
	MailEventSuppressed MailEvent = "suppressed"
	MailEventDelivered  MailEvent = "delivered"
	MailEventBounced    MailEvent = "bounced"
	MailEventComplained MailEvent = "complained"
)

// GateSwitch turns a gate off (allow all) or on again.
type GateSwitch struct {
	Feature string     `json:"feature"`
	Off     bool       `json:"off"`
	Until   *time.Time `json:"until,omitempty"` // when it is on again by itself; nil: when somebody says so
}

// LimitKind is the kind of a Limit record.
type LimitKind string

// The kinds of Limit records.
const (
	LimitKindReached   LimitKind = "reached"   // used = limit: the last allowed use
	LimitKindThreshold LimitKind = "threshold" // a warning level was passed
	LimitKindUnblocked LimitKind = "unblocked"
)

// Limit is a record of the stream LIMITS (JSON). Its identity is (Customer,
// Feature, WindowStart, Kind, Percent): a repeated record has the same content.
type Limit struct {
	Kind        LimitKind    `json:"kind"`
	Customer    string       `json:"customer"`
	Feature     string       `json:"feature"`
	Plan        string       `json:"plan"`
	Limit       events.Value `json:"limit"`
	Used        events.Value `json:"used"`
	Percent     int          `json:"percent"` // of the limit; 100 for reached
	WindowStart time.Time    `json:"window_start"`
	WindowEnd   time.Time    `json:"window_end"`
	UnblocksAt  *time.Time   `json:"unblocks_at,omitempty"`
	At          time.Time    `json:"at"` // when the usage that caused it was stored
	Silent      bool         `json:"silent,omitempty"`
	Shadow      bool         `json:"shadow,omitempty"`
}

// Dead is a record of the stream DEAD (JSON): a message, or a part of one, that could
// not be processed, or a document that the store refuses.
type Dead struct {
	Origin string    `json:"origin"` // <stream>/<sequence>/<index in the message>, or documents/<collection>/<id>
	Reason string    `json:"reason"`
	At     time.Time `json:"at"` // when the original was stored
	Body   []byte    `json:"body"`
	// Truncated reports whether Body is only the beginning. The message at Origin has
	// all of it.
	Truncated bool `json:"truncated,omitempty"`
}
