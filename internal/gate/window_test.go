package gate

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	first = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	last  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
)

func anyMoment() *rapid.Generator[time.Time] {
	any := rapid.Map(rapid.Int64Range(first.Unix(), last.Unix()), func(sec int64) time.Time { return time.Unix(sec, 0).UTC() })
	near := rapid.Map(rapid.Int64Range(0, int64(400*day)), func(ns int64) time.Time {
		return time.Date(2028, 1, 15, 0, 0, 0, 0, time.UTC).Add(time.Duration(ns)) // with a leap day
	})
	return rapid.OneOf(any, near, rapid.SampledFrom([]time.Time{first, last, time.Date(2028, 2, 29, 23, 59, 59, 999_999_999, time.UTC)}))
}

func spec() *rapid.Generator[WindowSpec] {
	return rapid.OneOf(
		rapid.Map(rapid.IntRange(1, 3660), func(n int) WindowSpec { return WindowSpec{Kind: Anniversary, Days: n} }),
		rapid.SampledFrom([]WindowSpec{{Kind: Calendar, Month: true}, {Kind: Calendar}, {Kind: Anniversary, Days: 30}, {Kind: Rolling, Days: 30}}),
	)
}

func cuts(t *rapid.T) []Segment {
	segments := FirstSegment(anyMoment().Draw(t, "anchor"))
	for range rapid.IntRange(0, 5).Draw(t, "cuts") {
		segments = Cut(segments, anyMoment().Draw(t, "from"), anyMoment().Draw(t, "anchor"))
	}
	return segments
}

// TestWindowsTileTime: whatever cuts there are, a window contains its moment,
// is that of all its moments, and the next one begins where it ends.
func TestWindowsTileTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, segments, at := spec().Draw(t, "spec"), cuts(t), anyMoment().Draw(t, "at")
		w := s.At(segments, at)
		if !w.Contains(at) {
			t.Fatalf("%v does not contain %v", w, at)
		}
		length := w.End.UnixMilli() - w.Start.UnixMilli()
		inside := time.UnixMilli(w.Start.UnixMilli() + rapid.Int64Range(0, length-1).Draw(t, "inside"))
		for _, m := range []time.Time{w.Start, inside, w.End.Add(-1), at.In(time.FixedZone("", 5400))} {
			if got := s.At(segments, m); got != w {
				t.Fatalf("%v lies in %v, but has %v", m, w, got)
			}
		}
		if next := s.At(segments, w.End); !next.Start.Equal(w.End) {
			t.Fatalf("after %v comes %v", w, next)
		}
		if before := s.At(segments, w.Start.Add(-1)); !before.End.Equal(w.Start) {
			t.Fatalf("before %v comes %v", w, before)
		}
		for _, c := range segments[1:] { // a cut begins a window
			if got := s.At(segments, c.From); !got.Start.Equal(c.From) {
				t.Fatalf("the cut at %v lies in %v", c.From, got)
			}
		}
	})
}

// TestWindowsHaveTheirLength, unless a cut shortens them.
func TestWindowsHaveTheirLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, anchor, at := spec().Draw(t, "spec"), anyMoment().Draw(t, "anchor"), anyMoment().Draw(t, "at")
		w := s.At(FirstSegment(anchor), at)
		want := w.Start.Add(s.Length())
		switch {
		case s.Kind == Rolling:
			want = w.Start.Add(BucketSize)
		case s.Month:
			want = w.Start.AddDate(0, 1, 0)
		}
		if !w.End.Equal(want) {
			t.Fatalf("%v, want an end at %v", w, want)
		}
		if s.Kind == Anniversary && (w.Start.Unix()-anchor.Unix())%(int64(s.Days)*86400) != 0 {
			t.Fatalf("%v is no multiple of %d days from %v", w, s.Days, anchor)
		}
	})
}

func TestAt(t *testing.T) {
	date := func(s string) time.Time {
		d, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	month, days, thirty := WindowSpec{Kind: Calendar, Month: true}, WindowSpec{Kind: Calendar}, WindowSpec{Kind: Anniversary, Days: 30}
	anchor := "2026-01-31 10:30:00"
	for _, c := range []struct {
		spec               WindowSpec
		anchor, from       string // from: a cut there
		at, start, wantEnd string
	}{
		{month, anchor, "", "2026-01-31 23:59:59", "2026-01-01 00:00:00", "2026-02-01 00:00:00"},
		{month, anchor, "", "2028-02-29 12:00:00", "2028-02-01 00:00:00", "2028-03-01 00:00:00"},
		{month, anchor, "", "2026-12-31 12:00:00", "2026-12-01 00:00:00", "2027-01-01 00:00:00"},
		{days, anchor, "", "2028-02-29 00:00:00", "2028-02-29 00:00:00", "2028-03-01 00:00:00"},
		{days, anchor, "", "2100-02-28 23:59:59", "2100-02-28 00:00:00", "2100-03-01 00:00:00"},
		{thirty, anchor, "", "2026-01-31 10:30:00", "2026-01-31 10:30:00", "2026-03-02 10:30:00"},
		{thirty, anchor, "", "2026-01-31 10:29:59", "2026-01-01 10:30:00", "2026-01-31 10:30:00"},
		{thirty, anchor, "", "2026-03-02 10:30:00", "2026-03-02 10:30:00", "2026-04-01 10:30:00"},
		{thirty, anchor, "2026-02-10 00:00:00", "2026-02-09 23:59:59", "2026-01-31 10:30:00", "2026-02-10 00:00:00"},
		{thirty, anchor, "2026-02-10 00:00:00", "2026-02-10 00:00:00", "2026-02-10 00:00:00", "2026-03-12 00:00:00"},
		{month, anchor, "2026-02-10 00:00:00", "2026-02-10 00:00:00", "2026-02-10 00:00:00", "2026-03-01 00:00:00"},
		{WindowSpec{Kind: Rolling, Days: 30}, anchor, "2026-02-10 00:20:00", "2026-02-10 00:30:00", "2026-02-10 00:20:00", "2026-02-10 01:00:00"},
	} {
		segments := FirstSegment(date(c.anchor))
		if c.from != "" {
			segments = Cut(segments, date(c.from), date(c.from))
		}
		if got, want := c.spec.At(segments, date(c.at)), (Window{date(c.start), date(c.wantEnd)}); got != want {
			t.Errorf("%+v at %s: %v, want %v", c.spec, c.at, got, want)
		}
	}
}

func TestCutKeepsSegmentsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segments := cuts(t)
		for i := 1; i < len(segments); i++ {
			if !segments[i-1].From.Before(segments[i].From) {
				t.Fatalf("%v", segments)
			}
		}
		if !segments[0].From.IsZero() {
			t.Fatal("no segment is since ever")
		}
		from, anchor := anyMoment().Draw(t, "from"), anyMoment().Draw(t, "anchor")
		once := Cut(append([]Segment(nil), segments...), from, anchor)
		twice := Cut(append([]Segment(nil), once...), from, anchor)
		if len(once) != len(twice) {
			t.Fatalf("a cut counts twice: %v", twice)
		}
	})
}

// TestNoPeriodHoldsMoreThanIsCounted: what any N days up to now hold lies in
// buckets that have not fallen out, and those reach back an hour more at most.
func TestNoPeriodHoldsMoreThanIsCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := WindowSpec{Kind: Rolling, Days: rapid.IntRange(1, 366).Draw(t, "days")}
		segments, now := cuts(t), anyMoment().Draw(t, "now")
		used := now.Add(-time.Duration(rapid.Int64Range(0, int64(s.Length()+2*BucketSize)).Draw(t, "ago")))
		bucket := s.At(segments, used).Start
		counts := s.FallsOut(bucket).After(now)
		if age := now.Sub(used); age < s.Length() && !counts || age > s.Length()+BucketSize && counts {
			t.Fatalf("used %s ago, counts: %t", age, counts)
		}
		if oldest := !bucket.Before(s.Oldest(now)); oldest != counts {
			t.Fatalf("a bucket from %v counts: %t, but the oldest is %v", bucket, counts, s.Oldest(now))
		}
	})
}

func TestParseWindow(t *testing.T) {
	for _, c := range []struct {
		period, kind string
		want         WindowSpec
		length       time.Duration
	}{
		{"30d", "", WindowSpec{Kind: Anniversary, Days: 30}, 30 * day},
		{"1d", "anniversary", WindowSpec{Kind: Anniversary, Days: 1}, day},
		{"3660d", "rolling", WindowSpec{Kind: Rolling, Days: 3660}, 3660 * day},
		{"month", "", WindowSpec{Kind: Calendar, Month: true}, 30 * day},
		{"day", "calendar", WindowSpec{Kind: Calendar}, day},
	} {
		got, err := ParseWindow(c.period, c.kind)
		if err != nil || got != c.want || got.Period() != c.period || got.Length() != c.length {
			t.Errorf("%s %s: %+v, %v", c.period, c.kind, got, err)
		}
	}
	for _, c := range [][2]string{{"", ""}, {"0d", ""}, {"-1d", ""}, {"+1d", ""}, {"01d", ""}, {"3661d", ""}, {"30", ""}, {"30D", ""}, {"1.5d", ""}, {" 30d", ""},
		{"30dd", ""}, {"d", ""}, {"year", ""}, {"30d", "calendar"}, {"month", "rolling"}, {"day", "anniversary"}, {"30d", "sliding"}, {"1w", ""},
		{"99999999999999999999d", ""}} {
		if got, err := ParseWindow(c[0], c[1]); err == nil {
			t.Errorf("%q %q: %+v", c[0], c[1], got)
		}
	}
}
