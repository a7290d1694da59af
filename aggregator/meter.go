package aggregator

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/plan"
	"github.com/tidegate-io/tidegate/internal/window"
)

// total is the window's total at a moment; only a rolling one depends on it.
func (u *usage) total(g *gate, segments []window.Segment, now time.Time) events.Value {
	if g == nil || g.Window.Kind != window.Rolling {
		return u.used
	}
	var total events.Value
	from := u.from(g, segments, now)
	for i := len(u.buckets) - 1; i >= 0 && u.buckets[i].Start >= from; i-- {
		total = g.Meter.Aggregate.Join(total, u.buckets[i].Used)
	}
	return total
}

// from is the start of the first bucket of a rolling window that counts.
func (u *usage) from(g *gate, segments []window.Segment, now time.Time) int64 {
	from := g.Window.Oldest(now)
	if cut := lastCut(segments, now); cut.After(from) {
		from = cut
	}
	return from.UnixMilli()
}

// reaches is the start of the bucket that the newer ones do not reach a limit
// without; 0 when the limit is not reached, or can only be.
func (u *usage) reaches(g *gate, from int64, limit events.Value) int64 {
	if limit.Sign() <= 0 {
		return 0
	}
	var total events.Value
	for i := len(u.buckets) - 1; i >= 0 && u.buckets[i].Start >= from; i-- {
		if total = g.Meter.Aggregate.Join(total, u.buckets[i].Used); total.Cmp(limit) >= 0 {
			return u.buckets[i].Start
		}
	}
	return 0
}

// rolling is a rolling window's buckets as the enforcer needs them.
func (u *usage) rolling() []events.Bucket {
	bs := make([]events.Bucket, len(u.buckets))
	for i, b := range u.buckets {
		bs[i] = events.Bucket{Start: ms(b.Start), Used: b.Used}
	}
	return bs
}

// lastCut is when the newest window began by a cut, for a rolling window does
// not reach behind it.
func lastCut(segments []window.Segment, now time.Time) time.Time {
	for _, s := range slices.Backward(segments) {
		if !s.From.After(now) {
			return s.From
		}
	}
	return time.Time{}
}

func (u *usage) addMember(g *gate, member uint64, bucketStart int64, now time.Time) {
	limit := g.Meter.Cap
	if limit == 0 {
		limit = plan.DefaultUniqueCap
	}
	old, known := u.members[member]
	if known && old >= bucketStart || !known && len(u.members) >= limit && !u.makeRoom(g, limit, now) {
		return
	}
	if bucketStart < u.dropped { // it can count no more
		return
	}
	if known {
		u.addBucket(g, old, events.Count(-1)) // a value counts in its newest bucket only
	}
	u.addBucket(g, bucketStart, events.Count(1))
	if u.members == nil {
		u.members = map[uint64]int64{}
	}
	if u.newMembers == nil {
		u.newMembers = map[uint64]struct{}{}
	}
	u.members[member] = bucketStart
	u.newMembers[member] = struct{}{}
	u.used = events.Count(int64(len(u.members)))
}

// makeRoom forgets the values that have fallen out of a rolling window: the cap
// is of those that count.
func (u *usage) makeRoom(g *gate, limit int, now time.Time) bool {
	if g.Window.Kind != window.Rolling {
		return false
	}
	if oldest := g.Window.Oldest(now).UnixMilli(); oldest > u.dropped {
		u.dropBefore(oldest)
	}
	return len(u.members) < limit
}

// addBucket adds to a bucket of a rolling window; to one that was forgotten,
// nothing can be added any more.
func (u *usage) addBucket(g *gate, start int64, v events.Value) {
	if g.Window.Kind != window.Rolling || start < u.dropped {
		return
	}
	i := len(u.buckets)
	for i > 0 && u.buckets[i-1].Start > start { // new usage goes to the end
		i--
	}
	if i == 0 || u.buckets[i-1].Start != start {
		u.buckets = append(u.buckets, bucket{})
		copy(u.buckets[i+1:], u.buckets[i:])
		u.buckets[i] = bucket{Start: start}
		i++
	}
	u.buckets[i-1].Used = g.Meter.Aggregate.Join(u.buckets[i-1].Used, v)
	if u.newBuckets == nil {
		u.newBuckets = map[int64]struct{}{}
	}
	u.newBuckets[start] = struct{}{}
}

// dropBefore forgets buckets that begin before start.
func (u *usage) dropBefore(start int64) {
	u.changed, u.dropped = true, max(u.dropped, start)
	for len(u.buckets) > 0 && u.buckets[0].Start < start {
		u.buckets = u.buckets[1:]
	}
	for m, at := range u.members {
		if at < start {
			delete(u.members, m)
		}
	}
}
