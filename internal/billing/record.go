package billing

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
// what Stripe's objects say. An empty customer takes it back.
type Mapping struct {
	Customer       string `json:"customer"`
	StripeCustomer string `json:"stripe_customer"`
}

// Fetched is an object as Stripe's API answered. At is when it was asked, by
// Stripe's clock (the answer's Date header), so that it can be ordered among
// events; of one second, events win, for each change of an object has one.
type Fetched struct {
	At     time.Time       `json:"at"`
	Object json.RawMessage `json:"object"`
}

// Record is one message of BILLING.
type Record struct {
	Kind    Kind
	Seq     uint64    // in BILLING; orders mappings
	Time    time.Time // when it was stored
	Event   Envelope  // KindStripe
	Map     Mapping   // KindMap
	Fetched Fetched   // KindFetched
}

// ParseRecord reads a message of BILLING. The error is ErrPayload or
// ErrRecord.
func ParseRecord(kind Kind, body []byte, seq uint64, stored time.Time) (Record, error) {
	rec := Record{Kind: kind, Seq: seq, Time: stored.UTC()}
	var err error
	switch kind {
	case KindStripe:
		rec.Event, err = ParseEnvelope(body)
		return rec, err
	case KindMap:
		if err = json.Unmarshal(body, &rec.Map); err == nil {
			err = rec.Map.validate()
		}
	case KindFetched:
		if err = json.Unmarshal(body, &rec.Fetched); err == nil && rec.Fetched.At.IsZero() {
			err = errors.New("`at` is missing")
		}
	default:
		err = fmt.Errorf("unknown kind %q", kind)
	}
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return rec, nil
}

func (m *Mapping) validate() error {
	if m.StripeCustomer == "" {
		return errors.New("`stripe_customer` is missing")
	}
	if m.Customer == "" {
		return nil
	}
	return events.ValidateCustomer(m.Customer)
}
