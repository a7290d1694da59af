package gate

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
)

var start = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

func hours(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }

func TestRollingTotal(t *testing.T) {
	spec := WindowSpec{Kind: Rolling, Days: 1}
	buckets := []Bucket{{Start: hours(0), Used: events.Count(1)}, {Start: hours(1), Used: events.Count(20)}, {Start: hours(10), Used: events.Count(3)}}
	for _, c := range []struct {
		name     string
		how      Aggregate
		cut, now time.Time
		want     int64
	}{
		{"all", Sum, time.Time{}, hours(11), 24},
		{"the greatest", Max, time.Time{}, hours(11), 20},
		{"the first counts until its last moment is a day old", Sum, time.Time{}, hours(25).Add(-1), 24},
		{"and then no more", Sum, time.Time{}, hours(25), 23},
		{"one is left", Sum, time.Time{}, hours(26), 3},
		{"none is left", Max, time.Time{}, hours(35), 0},
		{"a cut", Sum, hours(1), hours(11), 23},
		{"a cut within an hour", Sum, hours(1).Add(time.Minute), hours(11), 3},
		{"usage dated ahead counts at once", Sum, time.Time{}, hours(10).Add(-2 * time.Minute), 24},
	} {
		if got := RollingTotal(spec, buckets, c.how, c.cut, c.now); got != events.Count(c.want) {
			t.Errorf("%s: %v, want %d", c.name, got, c.want)
		}
	}
}

// rolling draws buckets in order, with cuts within some hours.
func rolling(t *rapid.T) (spec WindowSpec, how Aggregate, buckets []Bucket, cut time.Time) {
	spec = WindowSpec{Kind: Rolling, Days: rapid.IntRange(1, 3).Draw(t, "days")}
	how = rapid.SampledFrom([]Aggregate{Count, Sum, Max, Unique}).Draw(t, "how")
	at := 0
	for range rapid.IntRange(0, 12).Draw(t, "buckets") {
		at += rapid.IntRange(1, 8).Draw(t, "gap")
		b := Bucket{Start: hours(at), Used: events.Count(rapid.Int64Range(0, 9).Draw(t, "used"))}
		buckets = append(buckets, b)
		if rapid.IntRange(0, 3).Draw(t, "split") == 0 {
			cut = hours(at).Add(20 * time.Minute)
			buckets = append(buckets, Bucket{Start: cut, Used: events.Count(rapid.Int64Range(0, 9).Draw(t, "rest"))})
		}
	}
	return spec, how, buckets, cut
}

// naiveTotal asks every bucket whether it has fallen out.
func naiveTotal(spec WindowSpec, buckets []Bucket, how Aggregate, cut, now time.Time) events.Value {
	var n int64
	for _, b := range buckets {
		if hourEnd := b.Start.Truncate(time.Hour).Add(time.Hour); b.Start.Before(cut) || !hourEnd.Add(spec.Length()).After(now) {
			continue
		}
		if how == Max {
			n = max(n, b.Used.Units)
		} else {
			n += b.Used.Units
		}
	}
	return events.Count(n)
}

func TestRollingTotalIsThatOfBucketsThatCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, how, buckets, cut := rolling(t)
		now := start.Add(time.Duration(rapid.Int64Range(0, int64(200*time.Hour)).Draw(t, "now")))
		if got, want := RollingTotal(spec, buckets, how, cut, now), naiveTotal(spec, buckets, how, cut, now); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// TestFallsBelowIsTheFirstMoment compares with looking at every half hour.
func TestFallsBelowIsTheFirstMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, how, buckets, cut := rolling(t)
		now := start.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "now")) * 30 * time.Minute)
		limit := events.Count(rapid.Int64Range(0, 20).Draw(t, "limit"))
		var want time.Time
		if limit.Sign() > 0 && RollingTotal(spec, buckets, how, cut, now).Cmp(limit) >= 0 {
			for want = now.Add(30 * time.Minute); naiveTotal(spec, buckets, how, cut, want).Cmp(limit) >= 0; {
				want = want.Add(30 * time.Minute)
			}
		}
		if got := FallsBelow(spec, buckets, how, cut, now, limit); !got.Equal(want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func TestRollingTotalStaysInRange(t *testing.T) {
	spec := WindowSpec{Kind: Rolling, Days: 1}
	most := events.Count(1<<63 - 1)
	buckets := []Bucket{{Start: hours(0), Used: most}, {Start: hours(1), Used: most}}
	if got := RollingTotal(spec, buckets, Sum, time.Time{}, hours(2)); got != most {
		t.Errorf("%v, want %v", got, most)
	}
	if got := FallsBelow(spec, buckets, Sum, time.Time{}, hours(2), most); !got.Equal(spec.FallsOut(hours(1))) {
		t.Errorf("falls below at %v", got)
	}
}
