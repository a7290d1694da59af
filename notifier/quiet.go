package notifier

import "time"

// Quiet are the hours of a day in which no mail goes out, by the clocks of a
// time zone. They pass midnight when To is before From.
type Quiet struct {
	From, To time.Duration // since midnight, different
	Zone     *time.Location
}

// until is when the quiet hours that contain t end; ok is false when none do.
// The day on which clocks are changed has its hours as the clocks show them.
func (q *Quiet) until(t time.Time) (end time.Time, ok bool) {
	if q == nil {
		return time.Time{}, false
	}
	year, month, day := t.In(q.Zone).Date()
	at := func(day int, d time.Duration) time.Time {
		return time.Date(year, month, day, 0, int(d/time.Minute), 0, 0, q.Zone)
	}
	nights := 0
	if q.To < q.From {
		nights = 1
	}
	for _, begun := range [...]int{day - 1, day} {
		from, to := at(begun, q.From), at(begun+nights, q.To)
		if !t.Before(from) && t.Before(to) {
			return to.UTC(), true
		}
	}
	return time.Time{}, false
}
