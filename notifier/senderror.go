package notifier

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Class says what to do after a mail was not taken.
type Class string

// The classes of errors.
const (
	Retry     Class = "retry"     // the same bytes again, later
	Park      Class = "park"      // the provider refuses all mail for now: an operator must act
	Permanent Class = "permanent" // this mail will never be taken
)

// SendError is why a provider did not take a mail.
type SendError struct {
	Class  Class
	Status int           // of HTTP; 0 without an answer
	Name   string        // the provider's name of the error
	After  time.Duration // not to be tried again before; 0: not said
	Unsent bool          // nothing has reached the provider
	Err    error
}

// Error implements error.
func (e *SendError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("%s (%d): %v", e.Name, e.Status, e.Err)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// certain says that the mail did not go out; after other errors it may have.
func (e *SendError) certain() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict: // another request may have been taken
		return e.Unsent
	}
	return e.Unsent || e.Status >= 400 && e.Status < 500
}

// classify says what an answer of the provider means. The names are those of
// https://resend.com/docs/api-reference/errors.
func classify(status int, name string) Class {
	switch name {
	case "rate_limit_exceeded", "concurrent_idempotent_requests":
		return Retry
	case "daily_quota_exceeded", "monthly_quota_exceeded":
		return Park
	case "invalid_idempotent_request":
		return Permanent
	}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Park
	case status == 0, status == http.StatusRequestTimeout, status == http.StatusConflict,
		status == http.StatusTooManyRequests, status >= 500, status < 300:
		return Retry
	}
	return Permanent
}

// asSendError makes an error of a Sender one that says what to do.
func asSendError(err error) *SendError {
	var s *SendError
	if errors.As(err, &s) {
		return s
	}
	return &SendError{Class: Retry, Err: err}
}

const (
	firstRetry = 15 * time.Second
	lastRetry  = 2 * time.Hour
)

// retryAfter is the pause after the attempts-th try: it doubles.
func retryAfter(attempts int) time.Duration {
	if attempts > 10 {
		return lastRetry
	}
	return min(firstRetry<<max(0, attempts-1), lastRetry)
}

// pause is a time without sending.
type pause struct {
	until  time.Time
	reason string
}

const (
	parkQuota = time.Hour        // a quota is full
	parkOther = 10 * time.Minute // a key or a domain is not accepted
	// parkTail lets other mails go first when sending begins again: a refusal
	// that concerns only one mail must not stop the others for good.
	parkTail = time.Minute
)

func pauseFor(e *SendError) time.Duration {
	d := parkOther
	if e.Status == http.StatusTooManyRequests {
		d = parkQuota
	}
	return max(d, e.After)
}

// ended says whether err only means that ctx is done.
func ended(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }
