package fold

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// The objects below have each field in every place where some API version has
// it. An id, name or time of an unexpected type counts as absent; an amount of an
// unexpected type makes the object unreadable.

// head has the fields of every object.
type head struct {
	ID     text `json:"id"`
	Object text `json:"object"`
}

func headOf(object json.RawMessage) (head, error) {
	var h head
	if err := json.Unmarshal(object, &h); err != nil {
		return h, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return h, nil
}

// decode reads an object of a type that the fold uses. It returns nil for other
// types, and ErrRecord for an object that it can't read.
func decode(raw json.RawMessage) (any, error) {
	h, err := headOf(raw)
	if err != nil {
		return nil, err
	}
	var o any
	switch h.Object {
	case "subscription":
		o = new(subscriptionObject)
	case "invoice":
		o = new(invoiceObject)
	case "checkout.session":
		o = new(sessionObject)
	case "customer":
		o = new(customerObject)
	case "price":
		o = new(priceObject)
	case "product":
		o = new(productObject)
	case "charge":
		o = new(chargeObject)
	case "dispute":
		o = new(disputeObject)
	default:
		return nil, nil
	}
	if err := json.Unmarshal(raw, o); err != nil {
		return nil, fmt.Errorf("%w: a %s: %w", ErrRecord, h.Object, err)
	}
	return o, nil
}

// maxSeconds is in the year 8775: JSON has no moment after the year 9999, and a grace
// period may follow.
const maxSeconds = math.MaxInt32 * 100

// stripeTime is a moment in Unix seconds or, in v2 objects, RFC 3339.
type stripeTime struct{ time.Time }

func (t *stripeTime) UnmarshalJSON(b []byte) error {
	var sec float64
	var at time.Time
	switch {
	case json.Unmarshal(b, &sec) == nil && sec > 0 && sec < maxSeconds:
		t.Time = time.Unix(int64(sec), 0).UTC()
	case json.Unmarshal(b, &at) == nil && at.Unix() >= 0 && at.Unix() < maxSeconds:
		t.Time = at.UTC().Truncate(time.Second)
	}
	return nil
}

// ref is the id of another object. Stripe may show the whole object in its place.
type ref string

func (r *ref) UnmarshalJSON(b []byte) error {
	var id string
	var object struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(b, &id) != nil && json.Unmarshal(b, &object) == nil {
		id = object.ID
	}
	*r = ref(id)
	return nil
}

// text is a string; any other JSON value is read as "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

// metadata holds the strings that the operator's code has put on an object.
type metadata map[string]text

func (m *metadata) UnmarshalJSON(b []byte) error {
	var v map[string]text
	if json.Unmarshal(b, &v) == nil {
		*m = v
	}
	return nil
}

func (m metadata) get(key string) string { return string(m[key]) }

// listOf is a list object's data.
type listOf[T any] struct {
	Data []T `json:"data"`
}

type priceObject struct {
	ID        text     `json:"id"`
	LookupKey text     `json:"lookup_key"`
	Product   ref      `json:"product"`
	Metadata  metadata `json:"metadata"`
}

// UnmarshalJSON also accepts a bare id, which some shapes have.
func (p *priceObject) UnmarshalJSON(b []byte) error {
	type plain priceObject
	var v plain
	if json.Unmarshal(b, &v.ID) == nil && v.ID != "" {
		*p = priceObject(v)
		return nil
	}
	if json.Unmarshal(b, &v) == nil {
		*p = priceObject(v)
	}
	return nil
}

func (p *priceObject) item() item {
	return item{Price: string(p.ID), Lookup: string(p.LookupKey), Product: string(p.Product), Plan: p.Metadata.get(planKey)}
}

type productObject struct {
	ID       text     `json:"id"`
	Metadata metadata `json:"metadata"`
}

type customerObject struct {
	ID       text     `json:"id"`
	Email    text     `json:"email"`
	Deleted  bool     `json:"deleted"` // in answers to a fetch
	Metadata metadata `json:"metadata"`
}

// holder is the Stripe customer that an object belongs to or, in newer versions,
// the account that takes its place.
type holder struct {
	Customer ref  `json:"customer"`
	Account  text `json:"customer_account"`
}

func (h *holder) party() string { return cmp.Or(string(h.Customer), string(h.Account)) }

type subscriptionItem struct {
	Price     priceObject `json:"price"`
	Plan      priceObject `json:"plan"` // before there were prices; the ids are the same
	PeriodEnd stripeTime  `json:"current_period_end"`
}

type subscriptionObject struct {
	ID text `json:"id"`
	holder
	Status      text                     `json:"status"`
	Metadata    metadata                 `json:"metadata"`
	Created     stripeTime               `json:"created"`
	CancelAt    stripeTime               `json:"cancel_at"`
	AtPeriodEnd bool                     `json:"cancel_at_period_end"`
	PeriodEnd   stripeTime               `json:"current_period_end"` // before 2025-03-31
	TrialEnd    stripeTime               `json:"trial_end"`
	Plan        priceObject              `json:"plan"`
	Items       listOf[subscriptionItem] `json:"items"`
}

// version returns the subscription as the object shows it. The metadata key names
// our customer.
func (s *subscriptionObject) version(key string) version {
	return version{
		Status: string(s.Status), Items: s.items(),
		PeriodEnd: s.periodEnd(), CancelAt: s.CancelAt.Time, AtPeriodEnd: s.AtPeriodEnd, TrialEnd: s.TrialEnd.Time,
		Customer: validCustomer(s.Metadata.get(key)),
	}
}

// periodEnd returns the end of the billing period. When items differ it is the
// latest one, so that a customer who has paid does not lose access early.
func (s *subscriptionObject) periodEnd() time.Time {
	end := s.PeriodEnd.Time
	if end.IsZero() {
		for _, it := range s.Items.Data {
			end = later(end, it.PeriodEnd.Time)
		}
	}
	return end
}

func (s *subscriptionObject) items() []item {
	var items []item
	for _, it := range s.Items.Data {
		p := it.Price
		if p.ID == "" {
			p = it.Plan
		}
		if p.ID != "" {
			items = append(items, p.item())
		}
	}
	if len(items) == 0 && s.Plan.ID != "" {
		items = append(items, s.Plan.item())
	}
	slices.SortFunc(items, item.compare)
	return slices.Compact(items)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
