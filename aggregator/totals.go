package aggregator

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// total returns the total of the window. That of a rolling window depends on now.
func (u *usage) total(g *preparedGate, segments []gate.Segment, now time.Time) events.Value {
	if g == nil || g.Window.Kind != gate.Rolling {
		return u.used
	}
	if u.detail == nil {
		return events.Value{}
	}
	return u.detail.sumsFrom(g, firstBucket(g, segments, now)).total
}

// firstBucket returns the earliest start that a bucket of a rolling window may have
// to count.
func firstBucket(g *preparedGate, segments []gate.Segment, now time.Time) int64 {
	first := g.Window.Oldest(now)
	if cut := lastCut(segments, now); cut.After(first) {
		first = cut
	}
	return first.UnixMilli()
}

// lastCut returns the time of the last cut of the customer's windows, or the zero
// time. Usage before it does not count in a rolling window.
func lastCut(segments []gate.Segment, now time.Time) time.Time {
	for _, s := range slices.Backward(segments) {
		if !s.From.After(now) {
			return s.From
		}
	}
	return time.Time{}
}

// sums caches the sums of a rolling window, which the fold needs for each event. A
// window can have 720 buckets, so without the cache an event of a busy customer
// would take as long as many other events.
type sums struct {
	valid   bool
	first   int64        // the buckets that begin here or later count
	total   events.Value // of these buckets
	reached []reached    // answers of reachedSince
}

// reached says that the buckets from start on reach a limit, and that the newer
// ones alone do not.
type reached struct {
	limit events.Value
	start int64
	newer events.Value // total of the newer buckets
}

// sumsFrom returns the sums of the buckets that begin at first or later.
func (d *detail) sumsFrom(g *preparedGate, first int64) *sums {
	s := &d.sums
	if s.valid && s.first == first {
		return s
	}
	*s = sums{valid: true, first: first, reached: s.reached[:0]}
	for i := len(d.buckets) - 1; i >= 0 && d.buckets[i].Start >= first; i-- {
		s.total = g.Meter.Aggregate.Join(s.total, d.buckets[i].Used)
	}
	return s
}

// add updates the sums after v was added to the bucket that begins at start. v can
// be negative only when a member moves to a newer bucket, so the answers of
// reachedSince never decrease. The answers that have changed are dropped.
func (s *sums) add(g *preparedGate, start int64, v events.Value) {
	if !s.valid || start < s.first {
		return
	}
	s.total = g.Meter.Aggregate.Join(s.total, v)
	kept := s.reached[:0]
	for _, r := range s.reached {
		if start > r.start {
			r.newer = g.Meter.Aggregate.Join(r.newer, v)
		}
		if r.newer.Cmp(r.limit) < 0 {
			kept = append(kept, r)
		}
	}
	s.reached = kept
}

// reachedSince returns the latest start of a bucket such that the buckets from
// there on reach the limit: when that bucket expires, the total falls below the
// limit. It returns 0 if the total is below the limit now, or can never be.
func (d *detail) reachedSince(g *preparedGate, first int64, limit events.Value) int64 {
	s := d.sumsFrom(g, first)
	if limit.Sign() <= 0 || s.total.Cmp(limit) < 0 {
		return 0
	}
	for _, r := range s.reached {
		if r.limit == limit {
			return r.start
		}
	}
	r := reached{limit: limit}
	for _, b := range slices.Backward(d.buckets) {
		total := g.Meter.Aggregate.Join(r.newer, b.Used)
		if total.Cmp(limit) >= 0 {
			r.start = b.Start
			break
		}
		r.newer = total
	}
	s.reached = append(s.reached, r)
	return r.start
}
