package aggregator

import (
	"encoding/json"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// state is the state of a partition. It is a function of the base and of the
// messages that were folded since.
type state struct {
	base      gate.Catalog // in force before the first message
	hasBase   bool
	catalog   gate.Catalog               // in force now
	gates     map[string][]*preparedGate // by the event type that they meter
	features  map[string]*feature        // those that have a gate or a window
	customers table
	seen      fingerprint.Set
	position  uint64    // sequence of the last message folded
	storedAt  time.Time // when that message was stored
	hour      uint32    // of the last call of expire
	expiries  *schedule // of windows; nil: the next call of expire makes a new one
}

// preparedGate is a gate of the catalog with the values that the fold needs for
// each event.
type preparedGate struct {
	*gate.Gate
	feature    *feature
	thresholds []events.Value
	near       []near // one for each limit
}

// near is a limit and the total from which every change is emitted until the
// limit is reached.
type near struct{ from, limit events.Value }

// feature is shared by a gate and its windows.
type feature struct {
	name string
	gate *preparedGate // nil: the catalog has none
}

func newState() *state {
	return &state{customers: newTable(), features: map[string]*feature{}}
}

func (s *state) setCatalog(c gate.Catalog) {
	s.catalog = c
	s.gates = map[string][]*preparedGate{}
	s.expiries = nil // the lengths of windows may have changed
	for _, ft := range s.features {
		ft.gate = nil
	}
	for i := range c.Gates {
		g := &preparedGate{Gate: &c.Gates[i], thresholds: c.Gates[i].Thresholds(), feature: s.feature(c.Gates[i].Feature)}
		for _, l := range g.Limits {
			if !l.Unlimited && !l.None {
				g.near = append(g.near, near{g.Near(l.Value), l.Value})
			}
		}
		g.feature.gate = g
		s.gates[g.Meter.Event] = append(s.gates[g.Meter.Event], g)
	}
}

// feature returns the feature of that name, and adds it if it is new.
func (s *state) feature(name string) *feature {
	ft := s.features[name]
	if ft == nil {
		ft = &feature{name: name}
		s.features[name] = ft
	}
	return ft
}

// catalogJSON returns the same string for equal catalogs.
func catalogJSON(c gate.Catalog) string {
	b, _ := json.Marshal(c) // cannot fail: plain fields
	return string(b)
}

// customer returns the customer with that id, and adds it if it is new.
func (s *state) customer(id string) *customer {
	c := s.customers.find(id)
	if c == nil {
		c = s.customers.add(id)
		c.changed = true
	}
	return c
}

// fromMillis returns the time of Unix milliseconds; 0 gives the zero time.
func fromMillis(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(t).UTC()
}
