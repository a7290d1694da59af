package refetch

import (
	"errors"
	"log/slog"
	"time"

	"github.com/tidegate-io/tidegate/internal/stripe/api"
)

// Pauses after failures: they double, between these.
const (
	leastPause = time.Second
	mostPause  = 2 * time.Minute
	// keyPause is for a key that is refused, which only the operator can mend.
	keyPause = 5 * time.Minute
)

// line is one kind of question. It keeps from asking a Stripe that does not
// answer, or not us.
type line struct {
	what   string
	until  time.Time     // nothing is asked before
	length time.Duration // of the last pause
	err    error         // of the last question; nil: all is well
}

// paused says whether nothing is to be asked now.
func (l *line) paused(now time.Time) bool { return now.Before(l.until) }

// width is how many may ask at once: one, until it has worked again.
func (l *line) width() int {
	if l.err != nil {
		return 1
	}
	return inFlight
}

// works notes that Stripe answers.
func (l *line) works(log *slog.Logger) {
	if l.err != nil {
		log.Info("stripe answers again", "what", l.what)
	}
	*l = line{what: l.what}
}

// fails notes that Stripe did not answer, and begins a pause, unless one goes
// on: what fails then was asked before.
func (l *line) fails(err error, now time.Time, log *slog.Logger) {
	if l.err == nil || hopeless(err) != hopeless(l.err) {
		log.Warn("stripe cannot be asked now: webhooks are taken as they come, and it is tried again", "what", l.what, "error", err)
	}
	if l.err = err; l.paused(now) {
		return
	}
	l.length = min(max(2*l.length, leastPause), mostPause)
	if hopeless(err) {
		l.length = keyPause
	}
	l.until = now.Add(l.length)
}

// hopeless says whether somebody has to mend the key first.
func hopeless(err error) bool {
	return errors.Is(err, api.ErrKey) || errors.Is(err, api.ErrDenied)
}
