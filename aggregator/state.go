package aggregator

import (
	"encoding/json"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// state is what a partition's windows are: a function of its base (the catalog
// in force before the first message) and the messages folded since.
type state struct {
	base      gate.Catalog
	hasBase   bool
	catalog   gate.Catalog
	gates     map[string][]*preparedGate // by the event type that they meter
	features  map[string]*feature        // those that have a gate or a window
	customers table
	seen      fingerprint.Set
	position  uint64    // sequence of the last message folded
	storedAt  time.Time // its time
	hour      uint32    // of the last sweep
	sweeps    *calendar // when sweep is to look at which windows; nil: at all, the next time
}

// preparedGate is a gate of the catalog with what the fold asks of it all the time.
type preparedGate struct {
	*gate.Gate
	feature    *feature
	thresholds []events.Value
	near       []near // of each limit
}

// near is a limit with the total from which on every change counts.
type near struct{ from, limit events.Value }

// feature is what a gate and its windows share.
type feature struct {
	name string
	gate *preparedGate // nil: none is configured
}

func newState() *state {
	return &state{customers: newTable(), features: map[string]*feature{}}
}

func (s *state) setCatalog(c gate.Catalog) {
	s.catalog = c
	s.gates, s.sweeps = map[string][]*preparedGate{}, nil // the lengths of windows may be others
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

func (s *state) feature(name string) *feature {
	ft := s.features[name]
	if ft == nil {
		ft = &feature{name: name}
		s.features[name] = ft
	}
	return ft
}

// digest tells catalogs apart.
func digest(c gate.Catalog) string {
	b, _ := json.Marshal(c) // cannot fail: plain fields
	return string(b)
}

func (s *state) customer(id string) *customer {
	c := s.customers.find(id)
	if c == nil {
		c = s.customers.add(id)
		c.changed = true
	}
	return c
}

func ms(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(t).UTC()
}
