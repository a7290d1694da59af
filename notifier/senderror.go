package notifier

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Class is what to do after an attempt that failed.
type Class string

// The classes of errors.
const (
	Retry     Class = "retry"     // send the same bytes again, later
	Park      Class = "park"      // the provider refuses all mail for now; an operator must act
	Permanent Class = "permanent" // the provider will never take this mail
)

// SendError is the reason why a provider did not take a mail.
type SendError struct {
	Class  Class
	Status int           // of HTTP; 0 without an answer
	Name   string        // the provider's name of the error
	After  time.Duration // the shortest pause before another attempt; 0: the provider names none
	Unsent bool          // the provider has received nothing
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

// certain reports whether the mail was certainly not sent.
func (e *SendError) certain() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict: // an earlier request may have succeeded
		return e.Unsent
	}
	return e.Unsent || e.Status >= 400 && e.Status < 500
}

// classify returns the class of an answer of the provider. The names are those of
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

// asSendError returns err as a SendError, of the class Retry unless it is one.
func asSendError(err error) *SendError {
	var s *SendError
	if errors.As(err, &s) {
		return s
	}
	return &SendError{Class: Retry, Err: err}
}

const (
	minRetry = 15 * time.Second
	maxRetry = 2 * time.Hour
)

// retryAfter returns the pause after a number of attempts. It doubles each time.
func retryAfter(attempts int) time.Duration {
	if attempts > 10 {
		return maxRetry
	}
	return min(minRetry<<max(0, attempts-1), maxRetry)
}

// pause is a time in which nothing is sent.
type pause struct {
	until  time.Time
	reason string
}

const (
	parkQuota = time.Hour        // after a quota is used up
	parkOther = 10 * time.Minute // after the key or the domain is refused
	// parkTail lets other mails go first after a pause, because a refusal that
	// concerns only one mail must not stop the others for good.
	parkTail = time.Minute
)

// pauseFor returns how long to pause after the provider refused all mail.
func pauseFor(e *SendError) time.Duration {
	d := parkOther
	if e.Status == http.StatusTooManyRequests {
		d = parkQuota
	}
	return max(d, e.After)
}

// ended reports whether err only means that ctx is done.
func ended(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }
