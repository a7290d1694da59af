package chaos

import (
	"math/rand/v2"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// What the contract says of an event's own time, seen from the moment at which
// it was stored.
const (
	horizon = 32 * 24 * time.Hour // older: a dead letter
	ahead   = 5 * time.Minute     // later: a dead letter
)

// shifts are what the clock of the input is wrong by while it is moved. None is
// so near to what decides about an event that the time it takes to be stored
// would matter much; the one beyond the horizon and the one too far ahead are
// to be refused.
var shifts = []time.Duration{
	-time.Minute, -time.Hour, -3 * time.Hour, -24 * time.Hour, -29 * 24 * time.Hour, -31 * 24 * time.Hour,
	4 * time.Minute, horizonAndMore, aheadAndMore,
}

const (
	horizonAndMore = -horizon - 24*time.Hour
	aheadAndMore   = time.Hour
)

// mistime gives an event that has a time another one: off by a shift, or just
// before or at the beginning of a window.
func mistime(rng *rand.Rand, e *Event, anchor, now time.Time) {
	if rng.IntN(3) > 0 {
		e.Time = now.Add(shifts[rng.IntN(len(shifts))])
		return
	}
	if e.Time = edge(e.Type, anchor, now.Add(-time.Duration(rng.IntN(10))*24*time.Hour)); rng.IntN(2) == 0 {
		e.Time = e.Time.Add(-time.Millisecond)
	}
}

// edge is the beginning of the feature's window that contains t, or t when that
// is not known beforehand.
func edge(feature string, anchor, t time.Time) time.Time {
	g := gateOf(gates, feature)
	if g == nil || g.Period == Anniversary && anchor.IsZero() {
		return t
	}
	return g.begins(anchor, t)
}

// begins is the start of the window that contains t; for a rolling one, of the
// bucket.
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

// Copy is an event as it is in USAGE.
type Copy struct {
	ID     string
	Origin string    // as dead letters name it
	At     time.Time // when it was stored
	Time   time.Time // its own; zero: it has none
	Of     string    // customer
	Type   string
}

func newCopy(origin string, at time.Time, e *events.Event) Copy {
	return Copy{ID: e.ID, Origin: origin, At: at, Time: e.Time, Of: e.Subject, Type: e.Type}
}

// happened is when it counts.
func (c *Copy) happened() time.Time {
	if c.Time.IsZero() {
		return c.At
	}
	return c.Time
}

// valid says whether it may be counted.
func (c *Copy) valid() bool {
	age := c.At.Sub(c.happened())
	return age <= horizon && age >= -ahead
}
