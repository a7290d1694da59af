package refetch

import (
	"errors"
	"log/slog"
	"time"

	"github.com/tidegate-io/tidegate/internal/stripe/api"
)

// A pause after a failure is twice as long as the one before, between these
// bounds.
const (
	minPause = time.Second
	maxPause = 2 * time.Minute
	// keyPause is the pause after Stripe refused the key: only the operator can
	// replace it.
	keyPause = 5 * time.Minute
)

// breaker pauses one kind of requests after a failure.
type breaker struct {
	what   string
	until  time.Time     // end of the pause
	length time.Duration // of the last pause
	err    error         // of the last request; nil: it succeeded
}

// paused reports whether a pause lasts at now.
func (l *breaker) paused(now time.Time) bool { return now.Before(l.until) }

// width returns how many requests may run at once: one after a failure.
func (l *breaker) width() int {
	if l.err != nil {
		return 1
	}
	return maxRunning
}

// succeeded records that Stripe answered.
func (l *breaker) succeeded(log *slog.Logger) {
	if l.err != nil {
		log.Info("stripe answers again", "what", l.what)
	}
	*l = breaker{what: l.what}
}

// failed records that Stripe did not answer, and begins a pause. During a pause
// it does not begin another: the request was sent before the pause.
func (l *breaker) failed(err error, now time.Time, log *slog.Logger) {
	if l.err == nil || needsOperator(err) != needsOperator(l.err) {
		log.Warn("stripe cannot be asked now: webhooks are taken as they come, and it is tried again", "what", l.what, "error", err)
	}
	if l.err = err; l.paused(now) {
		return
	}
	l.length = min(max(2*l.length, minPause), maxPause)
	if needsOperator(err) {
		l.length = keyPause
	}
	l.until = now.Add(l.length)
}

// needsOperator reports whether the operator has to replace the key or change its
// permissions.
func needsOperator(err error) bool {
	return errors.Is(err, api.ErrKey) || errors.Is(err, api.ErrDenied)
}
