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
	KindMap     Kind = "map"     // Mapping: which customer a Stripe customer belongs to
	KindFetched Kind = "fetched" // Fetched: an object from Stripe's API
)

// ErrRecord is returned for a record that can never be folded.
var ErrRecord = errors.New("invalid billing record")

// Mapping says which customer a Stripe customer belongs to. It comes from the
// operator and wins over Stripe's objects. Without Customer it removes the
// mapping of StripeCustomer; without StripeCustomer it removes all mappings of
// Customer. With UnlessTaken it has no effect when an earlier record has mapped
// StripeCustomer to another customer, so that of two who say so at once, one wins and
// the other can find out.
type Mapping struct {
	Customer       string `json:"customer"`
	StripeCustomer string `json:"stripe_customer"`
	UnlessTaken    bool   `json:"unless_taken,omitempty"`
}

// Fetched is an object as Stripe's API returned it. It is stored in BILLING
// first and folded from there, so that a replay never fetches. At is the moment
// of the request by Stripe's clock (the answer's Date header). The object
// replaces what events up to that second said about it; only the end of a
// subscription in that same second stays, because an end is final. Later events
// count again. Of two fetches in one second, the one stored later counts.
type Fetched struct {
	Type       string          `json:"type"` // the object's, such as subscription
	ID         string          `json:"id"`   // the object's
	At         time.Time       `json:"at"`
	APIVersion string          `json:"api_version,omitempty"` // of Object's shape; for people: the fold reads every shape
	Object     json.RawMessage `json:"object"`
}

// NewFetched returns the record of an object, to be published as JSON under
// KindFetched. It returns ErrRecord when the JSON is no object with a type and an
// id.
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
		err = fmt.Errorf("%w: `type` and `id` do not match `object`", ErrRecord)
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

	object any // decoded from Event or Fetched; nil when the fold does not use it
}

// ParseRecord reads a message of BILLING. It returns ErrPayload or ErrRecord when
// the message can't be read.
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
