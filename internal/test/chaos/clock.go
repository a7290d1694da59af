package chaos

import (
	"math/rand/v2"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// The bounds of an event's time, relative to the moment at which it was stored.
const (
	horizon = 32 * 24 * time.Hour // an older event is a dead letter
	ahead   = 5 * time.Minute     // a later event is a dead letter
)

// shifts are the errors of the senders' clock during a fault. All are far enough from
// the bounds, so that the time between sending and storing does not matter. The events
// of the shifts beyond a bound must be refused.
var shifts = []time.Duration{
	-time.Minute, -time.Hour, -3 * time.Hour, -24 * time.Hour, -29 * 24 * time.Hour, -31 * 24 * time.Hour,
	4 * time.Minute, horizonAndMore, aheadAndMore,
}

const (
	horizonAndMore = -horizon - 24*time.Hour
	aheadAndMore   = time.Hour
)

// mistime changes the time of an event that has one: by a shift, or to just before or
// at the beginning of a window.
func mistime(rng *rand.Rand, e *Event, anchor, now time.Time) {
	if rng.IntN(3) > 0 {
		e.Time = now.Add(shifts[rng.IntN(len(shifts))])
		return
	}
	if e.Time = edge(e.Type, anchor, now.Add(-time.Duration(rng.IntN(10))*24*time.Hour)); rng.IntN(2) == 0 {
		e.Time = e.Time.Add(-time.Millisecond)
	}
}

// edge returns the beginning of the feature's window that contains t, or t when that
// can't be known beforehand.
func edge(feature string, anchor, t time.Time) time.Time {
	g := gateOf(gates, feature)
	if g == nil || g.Period == Anniversary && anchor.IsZero() {
		return t
	}
	return g.begins(anchor, t)
}

// begins returns the start of the window that contains t, or of its bucket for a
// rolling window.
func (g *Gate) begins(anchor, t time.Time) time.Time {
	t = t.UTC()
	switch g.Period {
	case Rolling:
		return t.Truncate(time.Hour)
	case Day:
		return t.Truncate(24 * time.Hour)
	case Month:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	start := anchor
	for start.After(t) {
		start = start.Add(-thirtyDays)
	}
	for !start.Add(thirtyDays).After(t) {
		start = start.Add(thirtyDays)
	}
	return start
}

// thirtyDays is the length of anniversary and rolling windows of a run.
const thirtyDays = 30 * 24 * time.Hour

// Copy is an event in USAGE.
type Copy struct {
	ID     string
	Origin string    // as in dead letters
	At     time.Time // when it was stored
	Time   time.Time // of the event; zero: it has none
	Of     string    // customer
	Type   string
}

func newCopy(origin string, at time.Time, e *events.Event) Copy {
	return Copy{ID: e.ID, Origin: origin, At: at, Time: e.Time, Of: e.Subject, Type: e.Type}
}

// happened returns the time at which the event counts.
func (c *Copy) happened() time.Time {
	if c.Time.IsZero() {
		return c.At
	}
	return c.Time
}

// valid reports whether the event may be counted.
func (c *Copy) valid() bool {
	age := c.At.Sub(c.happened())
	return age <= horizon && age >= -ahead
}
