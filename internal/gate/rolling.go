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

// RollingTotal is the total of a rolling window's buckets (by start) at now:
// those that have not fallen out, and do not begin before the last cut. Usage
// that is dated a little ahead counts at once.
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

// FallsBelow is the first moment after now at which a rolling window's total
// will be below limit if nothing is added; zero when it is below already or
// never will be.
func FallsBelow(spec WindowSpec, buckets []Bucket, how Aggregate, cut, now time.Time, limit events.Value) time.Time {
	if limit.Sign() <= 0 {
		return time.Time{}
	}
	var total events.Value
	from := later(cut, spec.Oldest(now))
	// Buckets fall out by start: the one that the newer ones do not reach the
	// limit without takes the total below it.
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

// Join is the total of two buckets; it stays at the end of the range.
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
