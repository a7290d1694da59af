package client

import (
	"cmp"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// gateSet is the value of the key _gates, made ready for look-ups. It does not
// change.
type gateSet struct {
	announced  events.Gates
	partitions int
	plan       string // the default one
	byFeature  map[string]*gateInfo
	byEvent    map[string][]*gateInfo
	routes     *gate.Routes
	listed     []*gateInfo // as announced
}

// gateInfo is one gate with what is derived from it.
type gateInfo struct {
	events.Gate
	window  gate.WindowSpec
	rolling bool
	counted bool // this process counts down: count and sum, in windows that it understands
	sum     bool
	// fresh is the decision about a customer without a decision and without
	// usage, if it is the same at all times; else nil.
	fresh *events.Decision
}

// gateSlot is where decisions find the newest form of their gate. There is one
// per feature for the life of a client; a removed gate leaves it empty.
type gateSlot struct{ atomic.Pointer[gateInfo] }

// Gates are the gates as the servers have announced them; false before the
// first sync. The result is shared: don't change it.
func (c *Client) Gates() (events.Gates, bool) {
	v := c.cache.view.Load()
	if v == nil {
		return events.Gates{}, false
	}
	return v.gates.announced, true
}

func newGateSet(g *events.Gates) *gateSet {
	s := &gateSet{announced: *g, partitions: g.Partitions, plan: g.DefaultPlan, byFeature: map[string]*gateInfo{}, byEvent: map[string][]*gateInfo{}}
	for i := range g.Gates {
		one := newGateInfo(g.Gates[i])
		if d := gate.Later(&one.Gate, s.plan, "", nil, gate.Known{}, time.Time{}); d.Allowed && !d.WouldBlock {
			one.fresh = &d
		}
		s.byFeature[one.Feature] = one
		s.byEvent[one.Event] = append(s.byEvent[one.Event], one)
		s.listed = append(s.listed, one)
	}
	s.routes = gate.NewRoutes(g.Gates)
	return s
}

func newGateInfo(g events.Gate) *gateInfo {
	one := &gateInfo{Gate: g, sum: g.Aggregate == string(gate.Sum)}
	var err error
	one.window, err = gate.ParseWindow(g.Period, g.Window)
	one.rolling = one.window.Kind == gate.Rolling
	one.counted = err == nil && (one.sum || g.Aggregate == string(gate.Count) || g.Aggregate == "")
	return one
}

// match appends the features whose gates a request meets, and returns an error if
// its path cannot be read.
func (s *gateSet) match(features []string, r *http.Request) ([]string, error) {
	var few [4]int
	met, err := s.routes.Match(few[:0], r.Method, cmp.Or(r.RequestURI, r.URL.EscapedPath()), r.URL.EscapedPath())
	for _, i := range met {
		features = append(features, s.listed[i].Feature)
	}
	return features, err
}

// span is the window that contains now for a customer whose newest decision is
// d, or nil: see gate.WindowSpec.Running.
func (g *gateInfo) span(d *events.Decision, now time.Time) (start, end int64) {
	if d == nil {
		return g.window.Running(nil, nil, now)
	}
	return g.window.Running(d.WindowStart, d.WindowEnd, now)
}

// limit is the limit in force; unlimited is not Valid.
func (g *gateInfo) limit(d *events.Decision) events.NullValue {
	if d != nil {
		return d.Limit
	}
	if !g.InPlan {
		return events.Some(events.Value{})
	}
	return g.Limit
}
