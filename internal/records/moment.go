package records

import "time"

// Within reports whether t lies in a span whose end is not part of it; a zero end
// is none.
func Within(t, from, to time.Time) bool {
	return !t.Before(from) && (to.IsZero() || t.Before(to))
}

// Moment returns a pointer to t, or nil for the zero time, which documents hold as
// null.
func Moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
