package enforcer

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// state is the state of the enforcer of one partition.
type state struct {
	customers map[string]*customer
	gatesOff  map[string]records.GateSwitch // emergency switches that are off; only on partition 0
	// strays are decisions in the bucket, by customer and feature, of customers who are not
	// in the state yet.
	strays map[string]map[string]*events.Decision
}

type customer struct {
	doc      records.Customer
	stripe   records.PlanState
	everPaid bool      // only the first paid plan moves the anchor
	known    bool      // from ACCOUNT, not only from usage
	cutAt    time.Time // when the running windows were ended last; zero: never
	features map[string]*entitlement
}

// entitlement is a customer's use of one feature, and the enforcer's conclusions.
type entitlement struct {
	_         struct{}              `cbor:",toarray"`
	Windows   []records.WindowTotal // without those that have ended
	Published *events.Decision      // the value in the decisions bucket; nil: none
	Reached   time.Time             // start of the window whose limit was reached; rolling: when it was reached
	Warned    []int                 // the warning levels reached in the window WarnedIn, in percent
	WarnedIn  time.Time             // start of that window; rolling: when the first level was reached

	wake time.Time // when the decision may change without a message; zero: never
}

// record is a commit, with the customers that changed, or a snapshot, with all.
type record struct {
	Customers []customerRec        `cbor:"1,keyasint,omitempty"`
	GatesOff  map[string]bool      `cbor:"2,keyasint,omitempty"`
	OffUntil  map[string]time.Time `cbor:"6,keyasint,omitempty"` // those of GatesOff that end by themselves
	Gates     bool                 `cbor:"3,keyasint,omitempty"` // GatesOff is part of the record
	Documents uint64               `cbor:"4,keyasint,omitempty"` // up to this sequence of ACCOUNT, documents are written
	Put       uint64               `cbor:"5,keyasint,omitempty"` // up to this revision of the decisions bucket, Published is current
}

type customerRec struct {
	_        struct{} `cbor:",toarray"`
	Doc      records.Customer
	Stripe   records.PlanState
	EverPaid bool
	Known    bool
	CutAt    time.Time
	Features map[string]*entitlement
}

func newState() *state {
	return &state{customers: map[string]*customer{}, gatesOff: map[string]records.GateSwitch{}}
}

// found returns the strays of a customer, by feature.
func (s *state) found(id string) map[string]*events.Decision {
	if s.strays == nil {
		s.strays = map[string]map[string]*events.Decision{}
	}
	if s.strays[id] == nil {
		s.strays[id] = map[string]*events.Decision{}
	}
	return s.strays[id]
}

// customer returns the customer with an id, and adds it if it is new.
func (s *state) customer(id string) *customer {
	c := s.customers[id]
	if c == nil {
		c = &customer{doc: records.Customer{ID: id}, features: map[string]*entitlement{}}
		s.customers[id] = c
		for feature, published := range s.strays[id] {
			c.feature(feature).Published = published
		}
		delete(s.strays, id)
	}
	return c
}

// apply adds a commit or snapshot to the state and returns it.
func (s *state) apply(b []byte) (r record, err error) {
	if err := wire.Unmarshal(b, &r); err != nil {
		return r, err
	}
	for _, cr := range r.Customers {
		c := &customer{doc: cr.Doc, stripe: cr.Stripe, everPaid: cr.EverPaid, known: cr.Known, cutAt: cr.CutAt, features: cr.Features}
		if c.features == nil {
			c.features = map[string]*entitlement{}
		}
		s.customers[cr.Doc.ID] = c
	}
	if r.Gates {
		s.setSwitches(&r)
	}
	return r, nil
}

func (c *customer) record() customerRec {
	return customerRec{Doc: c.doc, Stripe: c.stripe, EverPaid: c.everPaid, Known: c.known, CutAt: c.cutAt, Features: c.features}
}

// feature returns the entitlement to a feature, and adds it if it is new.
func (c *customer) feature(name string) *entitlement {
	e := c.features[name]
	if e == nil {
		e = &entitlement{}
		c.features[name] = e
	}
	return e
}

// planName returns the plan in force: the operator's, or else Stripe's, or else ""
// for the default plan.
func (c *customer) planName() string {
	if c.doc.PinnedPlan != "" {
		return c.doc.PinnedPlan
	}
	return c.stripe.Plan
}

// override returns the override of a feature, or nil.
func (c *customer) override(feature string) *gate.Override {
	if o, ok := c.doc.Overrides[feature]; ok {
		return &o
	}
	return nil
}

// merge replaces the total of a window by t and drops windows that have ended. It
// returns false, and changes nothing, when the known total is newer. The
// aggregator may have emitted t before it knew of the cut at cutAt, the
// customer's last one; merge then cuts t.
func (e *entitlement) merge(t *records.WindowTotal, cutAt, now time.Time) bool {
	cut(t, cutAt)
	kept := e.Windows[:0]
	known := false
	for _, w := range e.Windows {
		same := w.Start.Equal(t.Start) || w.End.IsZero() && t.End.IsZero()
		switch {
		case same && newer(&w, t):
			return false
		case same:
			kept, known = append(kept, *t), true
		case w.End.IsZero() == t.End.IsZero() && (w.End.IsZero() || w.End.After(now)):
			kept = append(kept, w)
		}
	}
	if !known {
		kept = append(kept, *t)
	}
	e.Windows = kept
	return true
}

// newer reports whether a is a newer total than b.
func newer(a, b *records.WindowTotal) bool {
	if a.Generation != b.Generation {
		return a.Generation > b.Generation
	}
	if a.Position != b.Position {
		return a.Position > b.Position
	}
	return a.Index > b.Index
}

// current returns the window that contains now, or nil.
func (e *entitlement) current(g *gate.Gate, now time.Time) *records.WindowTotal {
	for i := range e.Windows {
		w := &e.Windows[i]
		if w.End.IsZero() != (g.Window.Kind == gate.Rolling) {
			continue // it belongs to a former configuration
		}
		if w.End.IsZero() || !now.Before(w.Start) && now.Before(w.End) {
			return w
		}
	}
	return nil
}

// cut ends a window that runs at from, so that usage before a cut blocks nobody
// until the aggregator has folded the cut and emits totals that include it. It
// leaves a total alone that includes the cut already: a new owner may read that
// total before or after the record that caused the cut.
func cut(w *records.WindowTotal, from time.Time) {
	switch {
	case !w.Cut.Before(from):
	case w.End.IsZero():
		if w.Start.Before(from) { // a rolling window counts nothing before its start
			w.Start = from
		}
	case w.Start.Before(from) && from.Before(w.End):
		w.End = from
	}
}

// usage returns the usage in the current window, for gate.Decide, and that window.
// Without a limit it does not work out when the usage falls below it.
func (e *entitlement) usage(g *gate.Gate, limit events.NullValue, now time.Time) (gate.Usage, *records.WindowTotal) {
	w := e.current(g, now)
	if w == nil {
		return gate.Usage{}, nil
	}
	u := gate.Usage{Start: w.Start, End: w.End, Used: w.Used, UnblocksAt: w.End, AsOf: w.StoredAt}
	if g.Window.Kind == gate.Rolling {
		u.Start, u.End = now.Add(-g.Window.Length()).UTC().Truncate(time.Millisecond), time.Time{}
		u.Used = gate.RollingTotal(g.Window, w.Buckets, g.Meter.Aggregate, w.Start, now)
		u.UnblocksAt = time.Time{}
		if limit.Valid {
			u.UnblocksAt = gate.FallsBelow(g.Window, w.Buckets, g.Meter.Aggregate, w.Start, now, limit.Value)
		}
	}
	return u, w
}
