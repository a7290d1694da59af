// Package records holds what Tidegate's roles write for each other: the records
// of its streams, and the documents of its stores. What apps say and are told is
// in package events.
package records

import (
	"encoding/json"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// WindowTotal is what the aggregator tells the enforcer of one window. A
// newer one of the same window has a greater (Generation, Position).
type WindowTotal struct {
	_          struct{}      `cbor:",toarray"`
	Customer   string        // raw id
	Feature    string        // gate
	Generation uint64        // grows when windows are rebuilt by a replay
	Position   uint64        // sequence in USAGE of the message that made it
	Index      int           // which change of that message
	Start      time.Time     // window, inclusive; rolling: start of its first bucket
	End        time.Time     // exclusive; rolling: zero
	Used       events.Value  // total; rolling: zero, see Buckets
	Buckets    []gate.Bucket // rolling only, by start
	StoredAt   time.Time     // of that message
	Silent     bool          // made by an import or a new configuration: no mail for what it blocks
	Cut        time.Time     // the newest cut that the aggregator knew of when it told this; zero: none
}

// Account is one change of what is known of a customer: an intent from the
// edge, or what the subscription fold found. Absent fields stay as they are.
// It is stored as JSON in ACCOUNT; its time is the time it was stored.
type Account struct {
	Customer       string                    `json:"customer,omitempty"`
	Email          *string                   `json:"email,omitempty"`
	EmailSource    string                    `json:"email_source,omitempty"` // "" the app (wins), or "stripe"
	Locale         *string                   `json:"locale,omitempty"`
	StripeCustomer *string                   `json:"stripe_customer,omitempty"`
	Anchor         *time.Time                `json:"anchor,omitempty"`
	Plan           *PlanPin                  `json:"plan,omitempty"`
	Overrides      map[string]*gate.Override `json:"overrides,omitempty"` // null removes one
	Suppress       *string                   `json:"suppress,omitempty"`  // why no mail may go out; "" lifts it
	Erase          bool                      `json:"erase,omitempty"`     // personal data only; counts stay
	Subscription   *PlanState                `json:"subscription,omitempty"`
	Payment        *Payment                  `json:"payment,omitempty"`
	Refund         *Refund                   `json:"refund,omitempty"`
	Click          *Click                    `json:"click,omitempty"`
	Mail           *MailReport               `json:"mail,omitempty"`
	Move           *Move                     `json:"move,omitempty"`
	Gate           *GateSwitch               `json:"gate,omitempty"` // only on partition 0, without a customer
}

// PlanPin is a plan set by the operator; an empty one gives the choice back to
// Stripe.
type PlanPin struct {
	Name string `json:"name"`
}

// PlanState is what the subscription fold says of a customer.
type PlanState struct {
	Plan     string    `json:"plan"` // "" without a subscription that counts: the default plan
	Status   string    `json:"status"`
	Paid     bool      `json:"paid"`               // access of a paying customer
	Position uint64    `json:"position"`           // sequence in BILLING that it is the result of
	Event    string    `json:"event,omitempty"`    // the Stripe event that brought it
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
	Void     bool      `json:"void,omitempty"` // a late event showed that this was none: forget the key
}

// Refund is money that went back to a customer, or that a dispute asks back.
type Refund struct {
	Key      string    `json:"key"` // the charge's or the dispute's id
	Event    string    `json:"event"`
	Amount   int64     `json:"amount"`   // all refunds of the charge together, in the currency's smallest unit
	Currency string    `json:"currency"` // lower-case ISO 4217
	At       time.Time `json:"at"`
	Dispute  bool      `json:"dispute,omitempty"`
	Void     bool      `json:"void,omitempty"` // it is another customer's: forget the key
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
	Event    string    `json:"event"` // the Stripe event that brought it
	FromPlan string    `json:"from_plan"`
	ToPlan   string    `json:"to_plan"`
	At       time.Time `json:"at"`
	Void     bool      `json:"void,omitempty"` // a late event showed that this was none: forget the key
}

// MoveKind says what a record of the collection conversions is.
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
	MoveDispute      MoveKind = "dispute"      // money is asked back
)

// MailReport is what became of a mail after the provider took it.
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
	Feature string `json:"feature"`
	Off     bool   `json:"off"`
}

// LimitKind says what a Limit record reports.
type LimitKind string

// The kinds of Limit records.
const (
	LimitKindReached   LimitKind = "reached"   // used = limit: the last allowed use
	LimitKindThreshold LimitKind = "threshold" // a warning level was passed
	LimitKindUnblocked LimitKind = "unblocked"
)

// Limit is a record of the stream LIMITS (JSON). Its identity is (Customer,
// Feature, WindowStart, Kind, Percent): repeats say the same thing.
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

// Dead is a record of the stream DEAD (JSON): what could not be processed.
type Dead struct {
	Origin string    `json:"origin"` // <stream>/<sequence>/<index in the message>
	Reason string    `json:"reason"`
	At     time.Time `json:"at"` // when the original was stored
	Body   []byte    `json:"body"`
	// Truncated says that Body is only the beginning; Origin has all of it.
	Truncated bool `json:"truncated,omitempty"`
}

// MarshalJSON keeps d small enough for a message: JSON makes the body a third
// longer, and a letter that can't be sent would stop its partition.
func (d Dead) MarshalJSON() ([]byte, error) {
	if len(d.Body) > events.MaxBatchBytes {
		d.Body, d.Truncated = d.Body[:events.MaxBatchBytes], true
	}
	type plain Dead
	return json.Marshal(plain(d))
}
