package aggregator

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// total is the window's total at a moment; only a rolling one depends on it.
func (u *usage) total(g *preparedGate, segments []gate.Segment, now time.Time) events.Value {
	if g == nil || g.Window.Kind != gate.Rolling {
		return u.used
	}
	if u.detail == nil {
		return events.Value{}
	}
	return u.detail.sum(g, from(g, segments, now)).total
}

// from is the start of the first bucket of a rolling window that counts.
func from(g *preparedGate, segments []gate.Segment, now time.Time) int64 {
	from := g.Window.Oldest(now)
	if cut := lastCut(segments, now); cut.After(from) {
		from = cut
	}
	return from.UnixMilli()
}

// lastCut is when the newest window began by a cut, for a rolling window does
// not reach behind it.
func lastCut(segments []gate.Segment, now time.Time) time.Time {
	for _, s := range slices.Backward(segments) {
		if !s.From.After(now) {
			return s.From
		}
	}
	return time.Time{}
}

// sums are what every event asks of a rolling window. They are kept, for a
// window has a bucket for each of 720 hours, and a busy customer would take the
// time of many others if each of its events added them up.
type sums struct {
	valid   bool
	from    int64 // the first bucket that counts begins here
	total   events.Value
	reached []reached // limits, as they were asked for
}

// reached is a limit that the buckets from start on reach, and the newer ones
// alone do not.
type reached struct {
	limit events.Value
	start int64
	newer events.Value // total of the newer ones
}

// sum is the sums of the buckets from a start on.
func (d *detail) sum(g *preparedGate, from int64) *sums {
	s := &d.sums
	if s.valid && s.from == from {
		return s
	}
	*s = sums{valid: true, from: from, reached: s.reached[:0]}
	for i := len(d.buckets) - 1; i >= 0 && d.buckets[i].Start >= from; i-- {
		s.total = g.Meter.Aggregate.Join(s.total, d.buckets[i].Used)
	}
	return s
}

// add takes over what was added to a bucket. What a unique count takes from one,
// it adds to a newer one: no limit is ever reached by fewer than before.
func (s *sums) add(g *preparedGate, start int64, v events.Value) {
	if !s.valid || start < s.from {
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

// reaches is the start of the bucket that the newer ones do not reach a limit
// without; 0 when the limit is not reached, or can only be.
func (d *detail) reaches(g *preparedGate, from int64, limit events.Value) int64 {
	s := d.sum(g, from)
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

// rolling is a rolling window's buckets as the enforcer needs them.
func (u *usage) rolling() []gate.Bucket {
	bs := make([]gate.Bucket, len(u.buckets()))
	for i, b := range u.buckets() {
		bs[i] = gate.Bucket{Start: ms(b.Start), Used: b.Used}
	}
	return bs
}

func (u *usage) addMember(g *preparedGate, member uint64, bucketStart int64, now time.Time) {
	limit := g.Meter.Cap
	if limit == 0 {
		limit = gate.DefaultUniqueCap
	}
	d := u.detailed()
	old, known := d.members[member]
	if known && old >= bucketStart || !known && len(d.members) >= limit && !u.makeRoom(g, limit, now) {
		return
	}
	if bucketStart < d.dropped { // it can count no more
		return
	}
	if known {
		u.addBucket(g, old, events.Count(-1)) // a value counts in its newest bucket only
	}
	u.addBucket(g, bucketStart, events.Count(1))
	if d.members == nil {
		d.members = map[uint64]int64{}
	}
	if d.newMembers == nil {
		d.newMembers = map[uint64]struct{}{}
	}
	d.members[member] = bucketStart
	d.newMembers[member] = struct{}{}
	u.used = events.Count(int64(len(d.members)))
}

// makeRoom forgets the values that have fallen out of a rolling window: the cap
// is of those that count.
func (u *usage) makeRoom(g *preparedGate, limit int, now time.Time) bool {
	if g.Window.Kind != gate.Rolling {
		return false
	}
	if oldest := g.Window.Oldest(now).UnixMilli(); oldest > u.detail.dropped {
		u.dropBefore(oldest)
	}
	return len(u.detail.members) < limit
}

// addBucket adds to a bucket of a rolling window; to one that was forgotten,
// nothing can be added any more.
func (u *usage) addBucket(g *preparedGate, start int64, v events.Value) {
	if g.Window.Kind != gate.Rolling {
		return
	}
	d := u.detailed()
	if start < d.dropped {
		return
	}
	i, found := d.bucket(start)
	if !found {
		d.buckets = slices.Insert(d.buckets, i, bucket{Start: start})
	}
	d.buckets[i].Used = g.Meter.Aggregate.Join(d.buckets[i].Used, v)
	d.sums.add(g, start, v)
	if i, found := slices.BinarySearch(d.newBuckets, start); !found {
		d.newBuckets = slices.Insert(d.newBuckets, i, start)
	}
}

// bucket is where the bucket that begins at start is, or belongs.
func (d *detail) bucket(start int64) (i int, found bool) {
	if n := len(d.buckets); n > 0 && d.buckets[n-1].Start == start { // as nearly always
		return n - 1, true
	}
	return slices.BinarySearchFunc(d.buckets, start, func(b bucket, start int64) int { return cmp.Compare(b.Start, start) })
}

// dropBefore forgets buckets that begin before start.
func (u *usage) dropBefore(start int64) {
	d := u.detailed()
	u.changed, d.dropped, d.sums.valid = true, max(d.dropped, start), false
	for len(d.buckets) > 0 && d.buckets[0].Start < start {
		d.buckets = d.buckets[1:]
	}
	for m, at := range d.members {
		if at < start {
			delete(d.members, m)
		}
	}
}
