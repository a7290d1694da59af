package client

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// tally counts one customer's use of one feature beyond the newest decision. It
// is a value: its methods return the next one.
//
// used is the greatest lower bound of the usage in the window that this process
// can have without asking. It begins at the usage that the newest decision says.
// Recording w adds w. A newer decision raises it to the usage that it says.
//
// The count never blocks wrongly. A decision was true when it was made, and a
// record that follows its arrival cannot be part of it. So used is at most the
// usage once all records have reached the servers.
//
// The count never lets one process exceed the limit by itself. If nobody else
// records, used began at the usage and grows with it, however late decisions
// come. Records of other processes that are still on their way are not known
// here: together they are the most by which the limit can be exceeded.
//
// Three things can lower the usage: corrections, records that the servers count
// as duplicates, and hours that fall out of a rolling window. A decision that
// says less than the one before lowers used by the difference. In a rolling
// window a decision counts only until its hour ends, as nothing falls out within
// an hour. And records that the servers have not confirmed some time after their
// delivery were no usage (see confirmed).
type tally struct {
	bound
	book
}

// bound is what readers need of a tally.
type bound struct {
	used   events.Value // lower bound of the usage in the window
	others events.Value // part of used that this process did not record
	end    int64        // of the window, or when counting must begin anew; Unix nanoseconds, as all moments here
	hour   int64        // rolling: the hour of the decisions in used
}

// book is the rest of a tally.
type book struct {
	recent events.Value // recorded since mark
	last   int64        // newest record
	server events.Value // what the newest decision of this window says
	mark   int64
	acked  int64 // when all that was recorded up to mark had been delivered; 0: not yet
	since  int64 // when counting began
	start  int64 // of the window; 0: not known
}

// clockSlack is by how much this process's clock may be behind the servers'
// when a window that it did not know turns out to be this one.
const clockSlack = int64(5 * time.Second)

// newTally begins to count at now, beside decision d or without one.
func newTally(g *gateInfo, d *events.Decision, now time.Time) tally {
	at := now.UnixNano()
	t := tally{book: book{since: at, mark: at, last: at}}
	t.start, t.end = g.span(d, now)
	if d != nil && t.covers(g, d) {
		t = t.adopt(g, d)
	}
	return t
}

// covers reports whether d speaks of the window of t.
func (t tally) covers(g *gateInfo, d *events.Decision) bool {
	return g.rolling || d.WindowStart == nil || t.start == 0 || d.WindowStart.UnixNano() >= t.start
}

// over reports whether t is of a window that has ended: counting begins anew.
func (t *bound) over(now time.Time) bool { return now.UnixNano() >= t.end }

// recorded adds w at now, when t is not over.
func (t tally) recorded(w events.Value, now time.Time) tally {
	t.used, t.recent = plus(t.used, w), plus(t.recent, w)
	t.last = now.UnixNano()
	return t
}

// observed takes in a newer decision, which arrives at now.
func (t tally) observed(g *gateInfo, d *events.Decision, now time.Time) tally {
	if t.over(now) {
		last := t.last
		t = newTally(g, d, now)
		t.last = last
		return t
	}
	if g.rolling || d.WindowStart == nil || d.WindowEnd == nil {
		return t.adopt(g, d)
	}
	start := d.WindowStart.UnixNano()
	switch {
	case t.start == 0 && start <= t.since+clockSlack, start == t.start:
		t.start, t.end = start, d.WindowEnd.UnixNano()
		return t.adopt(g, d)
	case start < t.start:
		return t // of a window that is over
	}
	// A new window, which began after counting did. Nobody knows how much of the
	// count belongs to it: at least none.
	last := t.last
	t = newTally(g, d, now)
	t.last = last
	return t
}

// adopt takes in what a decision of this window says.
func (t tally) adopt(g *gateInfo, d *events.Decision) tally {
	if !d.Used.Valid {
		return t
	}
	says := d.Used.Value
	if hour := d.DecidedAt.Truncate(time.Hour).UnixNano(); g.rolling && hour != t.hour {
		t.used, t.hour = t.local(), hour
		t.others = events.Value{}
	} else if says.Cmp(t.server) < 0 {
		t = t.lowered(t.used.Sub(t.server.Sub(says)))
	}
	t.server = says
	if off := says.Sub(t.used); off.Sign() > 0 {
		t.used, t.others = says, plus(t.others, off)
	}
	return t
}

// local is the part of used that this process recorded.
func (t bound) local() events.Value { return t.used.Sub(t.others) }

// lowered sets used to less; local stays, unless it is more.
func (t tally) lowered(used events.Value) tally {
	local := least(t.local(), used)
	t.used, t.others = used, used.Sub(local)
	return t
}

// estimate is the lower bound at now; ok is false when there is none.
func (t bound) estimate(g *gateInfo, now time.Time) (used events.Value, ok bool) {
	switch {
	case t.over(now):
		return events.Value{}, false
	case g.rolling && t.hour != now.Truncate(time.Hour).UnixNano():
		return t.local(), true
	}
	return t.used, true
}

// nearPercent is the level from which the servers tell every change of the
// usage; a gate's own warning level may only be lower.
const nearPercent = 80

// confirmed compares the count with what the servers say, once everything in it
// was delivered longer than wait ago. By then the servers have counted it, and
// near the limit they have said so. If they have not, part of the count was no
// usage: duplicates of another process's records, corrected since, or of the
// window before. The count then goes on from what the servers say.
//
// delivered reports whether everything recorded up to a moment has been
// acknowledged. Decisions have come in without a break since current.
func (t tally) confirmed(limit events.NullValue, now, current int64, wait time.Duration, delivered func(upTo int64) bool) tally {
	if t.acked == 0 {
		if delivered(t.mark) {
			t.acked = now
		}
		return t
	}
	t.acked = max(t.acked, current)
	if now-t.acked < int64(wait) {
		return t
	}
	if limit.Valid && limit.Sign() > 0 {
		near, old := limit.Percent(nearPercent), t.used.Sub(t.recent)
		if old.Cmp(t.server) > 0 && (old.Cmp(near) >= 0 || t.server.Cmp(near) >= 0) {
			t = t.lowered(plus(t.server, t.recent))
		}
	}
	t.mark, t.acked, t.recent = now, 0, events.Value{}
	return t
}

// plus adds; a sum that leaves the range stays where it was.
func plus(v, w events.Value) events.Value {
	sum, _ := v.Add(w)
	return sum
}

func least(v, w events.Value) events.Value {
	if w.Cmp(v) < 0 {
		return w
	}
	return v
}
