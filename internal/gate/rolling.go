package gate

import (
	"math"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Bucket is an hour (or the rest of one after a cut) of a rolling window.
type Bucket struct {
	_     struct{}     `cbor:",toarray" bson:"-"`
	Start time.Time    `json:"start" bson:"start"`
	Used  events.Value `json:"used" bson:"used"`
}

// RollingTotal returns the total of a rolling window at now. It takes the buckets
// (sorted by start) that have not fallen out and do not begin before the last cut.
// Usage with a time a little ahead of now counts at once.
func RollingTotal(spec WindowSpec, buckets []Bucket, how Aggregate, cut, now time.Time) events.Value {
	var total events.Value
	from := later(cut, spec.Oldest(now))
	for _, b := range slices.Backward(buckets) {
		if b.Start.Before(from) {
			break
		}
		total = how.Join(total, b.Used)
	}
	return total
}

// FallsBelow returns the first moment after now at which a rolling window's total
// is below limit if nothing is added. It returns zero when the total is below
// already or never will be.
func FallsBelow(spec WindowSpec, buckets []Bucket, how Aggregate, cut, now time.Time, limit events.Value) time.Time {
	if limit.Sign() <= 0 {
		return time.Time{}
	}
	var total events.Value
	from := later(cut, spec.Oldest(now))
	// Buckets fall out in order of start. The total falls below the limit with the
	// bucket without which the newer ones do not reach it.
	for _, b := range slices.Backward(buckets) {
		if b.Start.Before(from) {
			break
		}
		if total = how.Join(total, b.Used); total.Cmp(limit) >= 0 {
			return spec.FallsOut(b.Start)
		}
	}
	return time.Time{}
}

// Join returns the total of two buckets. It stops at the greatest value.
func (a Aggregate) Join(x, y events.Value) events.Value {
	if a == Max {
		return x.Max(y)
	}
	sum, err := x.Add(y)
	if err != nil {
		return events.Value{Units: math.MaxInt64}
	}
	return sum
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
