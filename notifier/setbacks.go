package notifier

import "time"

// setbacks holds the mails whose last steps failed, by key.
type setbacks map[string]setback

type setback struct {
	n     int       // failures in a row
	until time.Time // the mail waits
}

const (
	minSetback = 30 * time.Second
	maxSetback = 10 * time.Minute
)

// add counts a failure. The first one costs no time, because it may be the store's.
func (s setbacks) add(key string, now time.Time) setbacks {
	if s == nil {
		s = setbacks{}
	}
	b := s[key]
	if b.n++; b.n > 1 {
		b.until = now.Add(min(minSetback<<min(b.n-2, 10), maxSetback))
	}
	s[key] = b
	return s
}

// holds reports whether the mail must wait.
func (s setbacks) holds(key string, now time.Time) bool { return s[key].until.After(now) }
