package notifier

import "time"

// Quiet is a time of day in which no mail is sent, by the clocks of a time zone. It
// passes midnight when To is before From.
type Quiet struct {
	From, To time.Duration // since midnight; not the same
	Zone     *time.Location
}

// until returns the end of the quiet hours that contain t; ok is false when t is not
// in quiet hours. On days when the clocks change, the hours are those that the
// clocks show.
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
