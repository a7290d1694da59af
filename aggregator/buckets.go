package aggregator

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// This file adds to the buckets of rolling windows and to the members of unique
// meters, and drops those that no longer count.

// gateBuckets returns the buckets as the enforcer needs them.
func (u *usage) gateBuckets() []gate.Bucket {
	bs := make([]gate.Bucket, len(u.buckets()))
	for i, b := range u.buckets() {
		bs[i] = gate.Bucket{Start: fromMillis(b.Start), Used: b.Used}
	}
	return bs
}

// addMember counts a value of a unique meter in the bucket that begins at
// bucketStart; a value counts only in its newest bucket. It ignores a new value if
// the window has as many as the meter's cap.
func (u *usage) addMember(g *preparedGate, member uint64, bucketStart int64, now time.Time) {
	limit := g.Meter.Cap
	if limit == 0 {
		limit = gate.DefaultUniqueCap
	}
	d := u.ensureDetail()
	old, known := d.members[member]
	if known && old >= bucketStart || !known && len(d.members) >= limit && !u.dropExpiredMembers(g, limit, now) {
		return
	}
	if bucketStart < d.dropped { // the bucket counts no more
		return
	}
	if known {
		u.addBucket(g, old, events.Count(-1))
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

// dropExpiredMembers drops the members of a rolling window that no longer count,
// and reports whether there are fewer than limit then.
func (u *usage) dropExpiredMembers(g *preparedGate, limit int, now time.Time) bool {
	if g.Window.Kind != gate.Rolling {
		return false
	}
	if oldest := g.Window.Oldest(now).UnixMilli(); oldest > u.detail.dropped {
		u.dropBefore(oldest)
	}
	return len(u.detail.members) < limit
}

// addBucket adds v to the bucket of a rolling window that begins at start, unless
// that bucket was dropped. It does nothing for other windows.
func (u *usage) addBucket(g *preparedGate, start int64, v events.Value) {
	if g.Window.Kind != gate.Rolling {
		return
	}
	d := u.ensureDetail()
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

// bucket returns the index of the bucket that begins at start, or the index at
// which to insert it.
func (d *detail) bucket(start int64) (i int, found bool) {
	if n := len(d.buckets); n > 0 && d.buckets[n-1].Start == start { // the usual case
		return n - 1, true
	}
	return slices.BinarySearchFunc(d.buckets, start, func(b bucket, start int64) int { return cmp.Compare(b.Start, start) })
}

// dropBefore drops the buckets that begin before start, and their members.
func (u *usage) dropBefore(start int64) {
	d := u.ensureDetail()
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
