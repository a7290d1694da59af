package aggregator

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/plan"
	"github.com/tidegate-io/tidegate/internal/window"
)

// state is what a partition's windows are: a function of its base (the catalog
// in force before the first message) and the messages folded since.
type state struct {
	base      plan.Catalog
	hasBase   bool
	catalog   plan.Catalog
	gates     map[string][]*gate // by the event type that they meter
	byFeature map[string]*gate
	customers map[string]*customer
	seen      fingerprint.Set
	position  uint64    // sequence of the last message folded
	storedAt  time.Time // its time
	hour      uint32    // of the last sweep
}

// gate is a gate of the catalog with what the fold asks of it all the time.
type gate struct {
	*plan.Gate
	thresholds []events.Value
	near       []near // of each limit
}

// near is a limit with the total from which on every change counts.
type near struct{ from, limit events.Value }

// customer is what the fold knows of one.
type customer struct {
	id        string
	segments  []window.Segment
	plan      string // "": the default one
	overrides map[string]events.Override
	controls  map[string]uint64 // by what was set (plan, or override/<feature>): the newest position in ACCOUNT
	closed    map[string]int64  // by feature: end (ms) of the newest window that was closed for good
	cutAt     int64             // newest moment (ms) at which windows were cut, or would have been had there been any
	windows   []*usage
	changed   bool // anything but windows, since the last commit
	dirty     bool // is in the processor's list of what is to be committed
}

// usage is one window of one feature. Times are Unix milliseconds.
type usage struct {
	feature         string
	start, end      int64 // rolling: both 0
	used            events.Value
	events          int64
	firstAt, lastAt int64
	seq             uint64           // sequence of the message of its last change
	storedAt        int64            // when that was stored
	buckets         []bucket         // rolling, sorted by start; unique: how many values are newest there
	members         map[uint64]int64 // unique: hash of a value → start of its newest bucket (0 unless rolling)

	plan       string // in force when it ended; "": the customer's
	closed     bool   // too old to change; kept until its document is written
	changed    bool   // since the last commit
	newBuckets map[int64]struct{}
	newMembers map[uint64]struct{}
	dropped    int64 // rolling: buckets that begin before were forgotten
	emit       bool
	silent     bool
	index      int
}

type bucket struct {
	_     struct{} `cbor:",toarray"`
	Start int64
	Used  events.Value
}

func newState() *state {
	return &state{customers: map[string]*customer{}}
}

func (s *state) setCatalog(c plan.Catalog) {
	s.catalog = c
	s.gates, s.byFeature = map[string][]*gate{}, map[string]*gate{}
	for i := range c.Gates {
		g := &gate{Gate: &c.Gates[i], thresholds: c.Gates[i].Thresholds()}
		for _, l := range g.Limits {
			if !l.Unlimited && !l.None {
				g.near = append(g.near, near{g.Near(l.Value), l.Value})
			}
		}
		s.gates[g.Meter.Event] = append(s.gates[g.Meter.Event], g)
		s.byFeature[g.Feature] = g
	}
}

// digest tells catalogs apart.
func digest(c plan.Catalog) string {
	b, _ := json.Marshal(c) // cannot fail: plain fields
	return string(b)
}

func (s *state) customer(id string) *customer {
	c := s.customers[id]
	if c == nil {
		id = strings.Clone(id) // it is a part of its message
		c = &customer{id: id, changed: true}
		s.customers[id] = c
	}
	return c
}

func (c *customer) find(feature string, start int64) *usage {
	for _, u := range c.windows {
		if u.start == start && u.feature == feature {
			return u
		}
	}
	return nil
}

func (s *state) sortedCustomers() []*customer {
	cs := make([]*customer, 0, len(s.customers))
	for _, c := range s.customers {
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b *customer) int { return cmp.Compare(a.id, b.id) })
	return cs
}

func compareUsage(a, b *usage) int {
	return cmp.Or(cmp.Compare(a.feature, b.feature), cmp.Compare(a.start, b.start))
}

func ms(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(t).UTC()
}
