package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/stripe/stripe-go/v76"
)

// The errors of a Client's requests, wrapped with detail. Every error is one of
// these.
var (
	// ErrAway is returned when Stripe does not answer, or answers with 5xx or 409.
	// Another attempt may succeed.
	ErrAway = errors.New("stripe did not answer")
	// ErrLimited is returned for 429. A later attempt may succeed.
	ErrLimited = errors.New("stripe asks for fewer requests")
	// ErrKey is returned when Stripe does not know the key.
	ErrKey = errors.New("stripe refuses STRIPE_SECRET_KEY")
	// ErrDenied is returned when the key lacks a permission.
	ErrDenied = errors.New("STRIPE_SECRET_KEY lacks a permission")
	// ErrMissing is returned when Stripe does not have the object.
	ErrMissing = errors.New("stripe does not have it")
	// ErrRequest is returned when Stripe refuses the request for good.
	ErrRequest = errors.New("stripe refuses the request")
)

// failed converts an error of the library to one of the errors above.
func (c *Client) failed(method, path string, err error) error {
	var e *stripe.Error
	if errors.As(err, &e) && e.HTTPStatusCode != 0 {
		text := fmt.Sprintf("%s %s: %d", method, path, e.HTTPStatusCode)
		if e.Code != "" {
			text += " " + string(e.Code)
		}
		if e.Param != "" {
			text += " (" + e.Param + ")"
		}
		if e.Msg != "" {
			text += ": " + e.Msg
		}
		if e.RequestID != "" {
			text += " [" + e.RequestID + "]"
		}
		return fmt.Errorf("%w: %s", class(e), c.redact(text))
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %s %s: %w", ErrAway, method, path, err)
	}
	var u *url.Error
	if errors.As(err, &u) { // its text contains the whole address
		err = u.Err
	}
	return fmt.Errorf("%w: %s %s: %s", ErrAway, method, path, c.redact(err.Error()))
}

func class(e *stripe.Error) error {
	switch status := e.HTTPStatusCode; {
	case status == http.StatusUnauthorized:
		return ErrKey
	case status == http.StatusForbidden:
		return ErrDenied
	case status == http.StatusTooManyRequests:
		return ErrLimited
	case status == http.StatusNotFound:
		return ErrMissing
	case status >= 500 || status == http.StatusConflict:
		return ErrAway
	}
	return ErrRequest
}

var (
	secrets   = regexp.MustCompile(`\b(sk|rk|pk|whsec|ek|ephkey|seti|pi)_[A-Za-z0-9_*]{4,}(_secret_[A-Za-z0-9]+)?`)
	addresses = regexp.MustCompile(`[^\s<>"']+@[^\s<>"']+`)
)

// redact removes keys and e-mail addresses from a text, and shortens it to 500
// bytes.
func (c *Client) redact(text string) string {
	text = strings.ReplaceAll(text, c.key(), "…")
	text = secrets.ReplaceAllString(text, "$1…")
	text = addresses.ReplaceAllString(text, "…@…")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	return strings.Join(strings.Fields(text), " ")
}
