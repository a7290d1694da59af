package enforcer

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// state is what the enforcer of a partition knows.
type state struct {
	customers map[string]*customer
	gatesOff  map[string]bool // emergency switches; only on partition 0
}

type customer struct {
	doc      records.Customer
	stripe   records.PlanState
	everPaid bool      // the first paid plan moves the anchor, later ones do not
	known    bool      // by ACCOUNT, not only by usage
	cutAt    time.Time // when the running windows were last ended; zero: never
	features map[string]*entitlement
}

// entitlement is what is known of a customer's use of one feature.
type entitlement struct {
	_         struct{}              `cbor:",toarray"`
	Windows   []records.WindowTotal // by start; those that have ended are dropped
	Published *events.Decision      // what the decisions bucket holds; nil: nothing
	Reached   time.Time             // start of the window whose limit was reached; rolling: that moment
	Warned    []int                 // percents passed in the window WarnedIn
	WarnedIn  time.Time             // rolling: the moment of the first one

	wake time.Time // when the decision may change by itself
}

// record is a commit (the customers that changed) or a snapshot (all).
type record struct {
	Customers []customerRec   `cbor:"1,keyasint,omitempty"`
	GatesOff  map[string]bool `cbor:"2,keyasint,omitempty"`
	Gates     bool            `cbor:"3,keyasint,omitempty"` // GatesOff is meant
	Documents uint64          `cbor:"4,keyasint,omitempty"` // customers changed up to here in ACCOUNT are written
	Put       uint64          `cbor:"5,keyasint,omitempty"` // revision of the decisions bucket up to which the state knows what it put
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
	return &state{customers: map[string]*customer{}, gatesOff: map[string]bool{}}
}

func (s *state) customer(id string) *customer {
	c := s.customers[id]
	if c == nil {
		c = &customer{doc: records.Customer{ID: id}, features: map[string]*entitlement{}}
		s.customers[id] = c
	}
	return c
}

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
		s.gatesOff = map[string]bool{}
		for f, off := range r.GatesOff {
			s.gatesOff[f] = off
		}
	}
	return r, nil
}

func (c *customer) record() customerRec {
	return customerRec{Doc: c.doc, Stripe: c.stripe, EverPaid: c.everPaid, Known: c.known, CutAt: c.cutAt, Features: c.features}
}

func (c *customer) feature(name string) *entitlement {
	e := c.features[name]
	if e == nil {
		e = &entitlement{}
		c.features[name] = e
	}
	return e
}

// planName is the plan in force: the operator's, else Stripe's, else "" for
// the default one.
func (c *customer) planName() string {
	if c.doc.PinnedPlan != "" {
		return c.doc.PinnedPlan
	}
	return c.stripe.Plan
}

func (c *customer) override(feature string) *gate.Override {
	if o, ok := c.doc.Overrides[feature]; ok {
		return &o
	}
	return nil
}

// learn takes a total over, unless a newer one of the same window is known. One
// that was told before the aggregator knew of the last cut is cut as well.
func (e *entitlement) learn(t *records.WindowTotal, cutAt, now time.Time) bool {
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

func newer(a, b *records.WindowTotal) bool {
	if a.Generation != b.Generation {
		return a.Generation > b.Generation
	}
	if a.Position != b.Position {
		return a.Position > b.Position
	}
	return a.Index > b.Index
}

// current is the known window that contains now.
func (e *entitlement) current(g *gate.Gate, now time.Time) *records.WindowTotal {
	for i := range e.Windows {
		w := &e.Windows[i]
		if w.End.IsZero() != (g.Window.Kind == gate.Rolling) {
			continue // of a former configuration
		}
		if w.End.IsZero() || !now.Before(w.Start) && now.Before(w.End) {
			return w
		}
	}
	return nil
}

// cut ends a window that runs at from. The aggregator says the same a moment
// later; until then nobody must be blocked by old usage. A total that was told
// with the cut known says how it is after it: a new owner reads it before or
// after the record of the cut.
func cut(w *records.WindowTotal, from time.Time) {
	switch {
	case !w.Cut.Before(from):
	case w.End.IsZero():
		if w.Start.Before(from) { // of a rolling window: before it nothing counts
			w.Start = from
		}
	case w.Start.Before(from) && from.Before(w.End):
		w.End = from
	}
}

// usage is what the decision needs of the current window.
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
