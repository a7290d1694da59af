package gate

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// WindowKind is how windows follow one another.
type WindowKind string

// The kinds.
const (
	Anniversary WindowKind = "anniversary" // one after another from the customer's anchor
	Rolling     WindowKind = "rolling"     // the last N days, in buckets of an hour
	Calendar    WindowKind = "calendar"    // months or days of the calendar, UTC
)

// BucketSize is the length of a rolling window's buckets.
const BucketSize = time.Hour

const day = 24 * time.Hour

// WindowSpec says how a gate cuts time into windows.
type WindowSpec struct {
	Kind  WindowKind `json:"kind"`
	Days  int        `json:"days,omitempty"`  // anniversary and rolling
	Month bool       `json:"month,omitempty"` // calendar: months, else days
}

// ParseWindow reads a period ("30d", "month", "day") and a kind ("" takes the
// period's default: anniversary for Nd, calendar for month and day).
func ParseWindow(period, kind string) (WindowSpec, error) {
	switch period {
	case "month", "day":
		if kind != "" && WindowKind(kind) != Calendar {
			return WindowSpec{}, fmt.Errorf("a period of %q is of the calendar: leave `window` out, or give the period in days, such as 30d", period)
		}
		return WindowSpec{Kind: Calendar, Month: period == "month"}, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(period, "d"))
	if err != nil || period != strconv.Itoa(n)+"d" || n < 1 || n > 3660 {
		return WindowSpec{}, fmt.Errorf("period %q is none of: month, day, or a number of days from 1d to 3660d", period)
	}
	switch WindowKind(kind) {
	case "", Anniversary:
		return WindowSpec{Kind: Anniversary, Days: n}, nil
	case Rolling:
		return WindowSpec{Kind: Rolling, Days: n}, nil
	case Calendar:
		return WindowSpec{}, fmt.Errorf("a calendar window needs the period month or day, not %q", period)
	}
	return WindowSpec{}, fmt.Errorf("window %q is none of: anniversary, rolling, calendar", kind)
}

// Period returns the period as it is configured: "30d", "month", "day".
func (s WindowSpec) Period() string {
	switch {
	case s.Kind != Calendar:
		return strconv.Itoa(s.Days) + "d"
	case s.Month:
		return "month"
	}
	return "day"
}

// Length returns the length of a window; a month counts as 30 days. For a rolling
// window it is how far back usage counts.
func (s WindowSpec) Length() time.Duration {
	switch {
	case s.Kind != Calendar:
		return time.Duration(s.Days) * day
	case s.Month:
		return 30 * day
	}
	return day
}

// Segment says which anchor is in force from a moment on, until the next
// segment. A new segment cuts the running window and begins one.
type Segment struct {
	_      struct{}  `cbor:",toarray"`
	From   time.Time // zero: since ever
	Anchor time.Time
}

// Window is [Start, End).
type Window struct{ Start, End time.Time }

// Contains reports whether t lies in w.
func (w Window) Contains(t time.Time) bool { return !t.Before(w.Start) && t.Before(w.End) }

// At returns the window that contains t, for a customer with these segments, which
// are sorted by From and begin with a zero From. The windows of a customer follow
// one another without gap or overlap. For a rolling spec At returns the bucket that
// contains t.
func (s WindowSpec) At(segments []Segment, t time.Time) Window {
	start, end := s.Span(segments, t.UnixMilli())
	return Window{time.UnixMilli(start).UTC(), time.UnixMilli(end).UTC()}
}

// Span is At in Unix milliseconds: windows begin and end at whole milliseconds.
func (s *WindowSpec) Span(segments []Segment, t int64) (start, end int64) {
	i := len(segments) - 1
	for i >= 0 && segments[i].From.UnixMilli() > t { // mostly the last one
		i--
	}
	if i < 0 {
		return s.plain(t, t)
	}
	start, end = s.plain(segments[i].Anchor.UnixMilli(), t)
	start = max(start, segments[i].From.UnixMilli())
	if i+1 < len(segments) {
		end = min(end, segments[i+1].From.UnixMilli())
	}
	return start, end
}

func (s *WindowSpec) plain(anchor, t int64) (start, end int64) {
	length := BucketSize.Milliseconds()
	switch s.Kind {
	case Calendar:
		y, m, d := time.UnixMilli(t).UTC().Date()
		if s.Month {
			return date(y, m, 1), date(y, m+1, 1)
		}
		return date(y, m, d), date(y, m, d+1)
	case Rolling:
		anchor = 0 // hours are those of the clock
	default:
		length = int64(s.Days) * day.Milliseconds()
	}
	since := (t - anchor) % length
	if since < 0 {
		since += length
	}
	return t - since, t - since + length
}

func date(y int, m time.Month, d int) int64 {
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).UnixMilli()
}

// Cut adds a segment that begins at from. If one begins there already, Cut replaces
// its anchor. Segments stay sorted.
func Cut(segments []Segment, from, anchor time.Time) []Segment {
	from, anchor = from.UTC().Truncate(time.Millisecond), anchor.UTC().Truncate(time.Millisecond)
	i := sort.Search(len(segments), func(i int) bool { return !segments[i].From.Before(from) })
	if i < len(segments) && segments[i].From.Equal(from) {
		segments[i].Anchor = anchor
		return segments
	}
	segments = append(segments, Segment{})
	copy(segments[i+1:], segments[i:])
	segments[i] = Segment{From: from, Anchor: anchor}
	return segments
}

// FirstSegment returns the segments of a customer whose first event is at t.
func FirstSegment(t time.Time) []Segment {
	return []Segment{{Anchor: t.UTC().Truncate(time.Second)}}
}

// FallsOut returns when the bucket of a rolling window that starts at start stops
// counting: when the last moment of its hour is older than the period. So no N days
// ever hold more than the limit.
func (s WindowSpec) FallsOut(start time.Time) time.Time {
	return start.UTC().Truncate(BucketSize).Add(BucketSize).Add(s.Length())
}

// Oldest returns the start of the oldest bucket of a rolling window that counts at
// now.
func (s WindowSpec) Oldest(now time.Time) time.Time {
	return now.UTC().Add(-s.Length()).Truncate(BucketSize)
}

// Running returns the window that contains now, in Unix nanoseconds, for a customer
// whose newest known window is [from, to); either may be nil. Where the window is
// not known, start is 0, and end is when usage from now on may begin to fall out.
func (s *WindowSpec) Running(from, to *time.Time, now time.Time) (start, end int64) {
	switch {
	case s.Length() <= 0: // not understood: it is over at once
		return 0, now.UnixNano()
	case s.Kind == Rolling:
		return 0, now.Add(s.Length()).UnixNano()
	case from != nil && to != nil && now.Before(*to):
		return from.UnixNano(), to.UnixNano()
	case s.Kind == Anniversary && (from == nil || to == nil):
		return 0, now.Add(s.Length()).UnixNano()
	}
	var anchor int64
	if s.Kind == Anniversary { // windows follow one another
		anchor = to.UnixMilli()
	}
	start, end = s.plain(anchor, now.UnixMilli())
	return start * int64(time.Millisecond), end * int64(time.Millisecond)
}
