package client

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// gateSet is the value of the key _gates, made ready for look-ups. It does not
// change.
type gateSet struct {
	announced  events.Gates
	partitions int
	plan       string // the default one
	byFeature  map[string]*gate
	byEvent    map[string][]*gate
	routes     []*gate // those with a trigger, the most specific first
}

// gate is one gate with what is derived from it.
type gate struct {
	events.Gate
	period  time.Duration // of a month: 0
	rolling bool
	counted bool // this process counts down: count and sum
	sum     bool
	// fresh is the decision about a customer without a decision and without
	// usage, if it is the same at all times; else nil.
	fresh *events.Decision
}

// gateSlot is where decisions find the newest form of their gate. There is one
// per feature for the life of a client; a removed gate leaves it empty.
type gateSlot struct{ atomic.Pointer[gate] }

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
	s := &gateSet{announced: *g, partitions: g.Partitions, plan: g.DefaultPlan, byFeature: map[string]*gate{}, byEvent: map[string][]*gate{}}
	for i := range g.Gates {
		one := newGate(g.Gates[i])
		if d := judge(one, nil, s.plan, "", events.Value{}, false, time.Time{}); d.Allowed && !d.WouldBlock {
			one.fresh = &d
		}
		s.byFeature[one.Feature] = one
		s.byEvent[one.Event] = append(s.byEvent[one.Event], one)
		if one.Endpoint != "" {
			s.routes = append(s.routes, one)
		}
	}
	slices.SortStableFunc(s.routes, func(a, b *gate) int { return cmp.Compare(b.weight(), a.weight()) })
	return s
}

func newGate(g events.Gate) *gate {
	one := &gate{Gate: g, rolling: g.Window == "rolling"}
	one.sum = g.Aggregate == "sum"
	one.counted = one.sum || g.Aggregate == "count" || g.Aggregate == ""
	switch g.Period {
	case "month":
	case "day":
		one.period = 24 * time.Hour
	default:
		days, err := strconv.Atoi(strings.TrimSuffix(g.Period, "d"))
		if err != nil || days < 1 {
			days = 30
		}
		one.period = time.Duration(days) * 24 * time.Hour
	}
	return one
}

// weight orders triggers: a whole path before a prefix, a longer one before a
// shorter one, a method before any method.
func (g *gate) weight() int {
	w := 4 * len(g.Endpoint)
	if !strings.HasSuffix(g.Endpoint, "*") {
		w += 1 << 20
	}
	if g.Method != "" {
		w++
	}
	return w
}

// match finds the gate whose trigger a request is; nil when there is none. The
// path is cleaned first, so that "/api/x/../y" is not a way around a gate.
func (s *gateSet) match(method, target string) *gate {
	clean := target
	if !strings.HasPrefix(target, "/") {
		clean = "/" + target
	}
	clean = path.Clean(clean) // allocates only what is not clean
	for _, g := range s.routes {
		if g.Method != "" && !strings.EqualFold(g.Method, method) {
			continue
		}
		if prefix, any := strings.CutSuffix(g.Endpoint, "*"); any {
			if strings.HasPrefix(clean, prefix) || strings.TrimSuffix(prefix, "/") == clean && strings.HasSuffix(target, "/") {
				return g
			}
		} else if g.Endpoint == clean || g.Endpoint == target {
			return g
		}
	}
	return nil
}

// span is the window that contains now for a customer whose newest decision is
// d (or nil): its start and end in Unix nanoseconds. Where the window is not
// known, start is 0, and end is when usage counted from now on may begin to
// fall out of it.
func (g *gate) span(d *events.Decision, now time.Time) (start, end int64) {
	switch {
	case g.rolling:
		return 0, now.Add(g.period).UnixNano()
	case d != nil && d.WindowStart != nil && d.WindowEnd != nil:
		if now.Before(*d.WindowEnd) {
			return d.WindowStart.UnixNano(), d.WindowEnd.UnixNano()
		}
		if g.Window == "anniversary" || g.Window == "" && g.period > 24*time.Hour {
			// Windows follow one another: this is the one that contains now.
			last := *d.WindowEnd
			last = last.Add(now.Sub(last) / g.period * g.period)
			return last.UnixNano(), last.Add(g.period).UnixNano()
		}
	}
	y, m, day := now.UTC().Date()
	switch g.Period {
	case "month":
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).UnixNano(), time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	case "day":
		return time.Date(y, m, day, 0, 0, 0, 0, time.UTC).UnixNano(), time.Date(y, m, day+1, 0, 0, 0, 0, time.UTC).UnixNano()
	}
	return 0, now.Add(g.period).UnixNano()
}

// limit is the limit in force; unlimited is not Valid.
func (g *gate) limit(d *events.Decision) events.NullValue {
	if d != nil {
		return d.Limit
	}
	if !g.InPlan {
		return events.Some(events.Value{})
	}
	return g.Limit
}
