package fold

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Kind is the last token of a record's subject in BILLING.
type Kind string

// The kinds of records.
const (
	KindStripe  Kind = "stripe"  // a verified webhook payload, as it came
	KindMap     Kind = "map"     // Mapping: whose a Stripe customer is
	KindFetched Kind = "fetched" // Fetched: an object that was asked for
)

// ErrRecord is returned for a record that can't be folded, ever.
var ErrRecord = errors.New("invalid billing record")

// Mapping is the operator's word on whose a Stripe customer is; it wins over
// what Stripe's objects say. Without a customer it takes back what was said of
// the Stripe customer, without a Stripe customer what was said of the customer.
type Mapping struct {
	Customer       string `json:"customer"`
	StripeCustomer string `json:"stripe_customer"`
}

// Fetched is an object as Stripe's API answered: what was fetched goes into
// BILLING first, and only from there into the fold, so that a replay never
// fetches. At is when it was asked, by Stripe's clock (the answer's Date
// header). The object replaces what events up to that second said of it, an end
// of that very second apart, for that is final; events after it count again. Of
// two fetches of one second the one that was stored later counts.
type Fetched struct {
	Type       string          `json:"type"` // the object's, such as subscription
	ID         string          `json:"id"`   // the object's
	At         time.Time       `json:"at"`
	APIVersion string          `json:"api_version,omitempty"` // whose shape it has; for people, the fold reads every shape
	Object     json.RawMessage `json:"object"`
}

// NewFetched is the record of an object, to be published as JSON under
// KindFetched. The error is ErrRecord: the answer is no object with type and id.
func NewFetched(object json.RawMessage, apiVersion string, at time.Time) (Fetched, error) {
	h, err := headOf(object)
	if err != nil {
		return Fetched{}, err
	}
	f := Fetched{Type: string(h.Object), ID: string(h.ID), At: at.UTC(), APIVersion: apiVersion, Object: object}
	return f, f.validate()
}

func (f *Fetched) validate() error {
	if f.At.IsZero() || f.Type == "" || f.ID == "" || len(f.Object) == 0 {
		return fmt.Errorf("%w: `type`, `id`, `at` and `object` are needed", ErrRecord)
	}
	h, err := headOf(f.Object)
	if err == nil && (string(h.ID) != f.ID || string(h.Object) != f.Type) {
		err = fmt.Errorf("%w: `object` is another than `type` and `id` say", ErrRecord)
	}
	return err
}

// Record is one message of BILLING.
type Record struct {
	Kind    Kind
	Seq     uint64    // in BILLING; orders mappings
	Time    time.Time // when it was stored
	Event   Envelope  // KindStripe
	Map     Mapping   // KindMap
	Fetched Fetched   // KindFetched

	object any // of the event or fetched; nil when the fold has no use for it
}

// ParseRecord reads a message of BILLING. The error is ErrPayload or
// ErrRecord.
func ParseRecord(kind Kind, body []byte, seq uint64, stored time.Time) (Record, error) {
	rec := Record{Kind: kind, Seq: seq, Time: stored.UTC()}
	var err error
	switch kind {
	case KindStripe:
		if rec.Event, err = ParseEnvelope(body); err == nil && rec.Event.Object != nil {
			rec.object, err = decode(rec.Event.Object)
		}
	case KindMap:
		if err = json.Unmarshal(body, &rec.Map); err == nil {
			err = rec.Map.validate()
		}
	case KindFetched:
		if err = json.Unmarshal(body, &rec.Fetched); err == nil {
			err = rec.Fetched.validate()
		}
		if err == nil {
			rec.object, err = decode(rec.Fetched.Object)
		}
	default:
		err = fmt.Errorf("unknown kind %q", kind)
	}
	if err != nil && !errors.Is(err, ErrRecord) && !errors.Is(err, ErrPayload) {
		err = fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if err != nil {
		return Record{}, err
	}
	return rec, nil
}

func (m *Mapping) validate() error {
	switch {
	case m.StripeCustomer == "" && m.Customer == "":
		return errors.New("`customer` and `stripe_customer` are missing")
	case m.Customer == "":
		return nil
	}
	return events.ValidateCustomer(m.Customer)
}
