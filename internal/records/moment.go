package records

import "time"

// Within reports whether t is in [from, to). A zero to is no bound.
func Within(t, from, to time.Time) bool {
	return !t.Before(from) && (to.IsZero() || t.Before(to))
}

// Moment returns a pointer to t, or nil for the zero time: documents have null for it.
func Moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
