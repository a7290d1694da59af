// Package stripeapi asks Stripe: it fetches objects, lists them, and makes
// checkout sessions, portal sessions and webhook endpoints. Nothing else in
// Tidegate sends requests to Stripe.
//
// It calls a backend of stripe-go of its own, never the library's global key:
// without telemetry, with time-outs, retries and a bound on the rate. What it
// returns is Stripe's JSON as it came (the generated types would drop what
// their version does not know), with the moment of the question by Stripe's
// clock. No error of it holds a key or a secret.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/form"
	"golang.org/x/time/rate"
)

// APIVersion is the version of Stripe's API that is asked for.
const APIVersion = stripe.APIVersion

// DefaultBase is the address of Stripe's API.
const DefaultBase = stripe.APIURL

// Options is how Stripe is asked. Only Key is required.
type Options struct {
	Key     string
	Base    string        // another address than Stripe's, for tests
	Timeout time.Duration // of one try; 0 is 20 s
	Retries int           // of what a request may be repeated for: a broken connection, 5xx, a conflict
	// Rate is how many requests a second are begun at most; 0 does not bound
	// them. Stripe takes 100 a second (25 in test mode) from all of an account's
	// programs together.
	Rate float64
}

// Client asks Stripe. All methods are safe to call concurrently.
type Client struct {
	backend stripe.Backend
	key     func() string // not a string, which would show when a Client is printed
	limit   *rate.Limiter

	mu     sync.Mutex
	prices map[string]knownPrice // by what names them
}

// New returns a client; it does not ask anything yet.
func New(o Options) (*Client, error) {
	if o.Key == "" || strings.ContainsFunc(o.Key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("STRIPE_SECRET_KEY is not a key such as sk_… or rk_…")
	}
	if o.Base == "" {
		o.Base = DefaultBase
	}
	if u, err := url.Parse(o.Base); err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("STRIPE_API_BASE is not an address such as " + DefaultBase)
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	limit := rate.Inf
	if o.Rate > 0 {
		limit = rate.Limit(o.Rate)
	}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		EnableTelemetry: stripe.Bool(false),
		HTTPClient: &http.Client{Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the key is for Stripe alone
		}},
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull}, // it would log what customers typed
		MaxNetworkRetries: stripe.Int64(int64(o.Retries)),
		URL:               stripe.String(strings.TrimRight(o.Base, "/")),
	})
	return &Client{backend: backend, key: func() string { return o.Key }, limit: rate.NewLimiter(limit, 1),
		prices: map[string]knownPrice{}}, nil
}

// Object is one of Stripe's as it answered.
type Object struct {
	ID   string
	Type string // such as subscription
	// At is when it was asked for, by Stripe's clock, in whole seconds: the
	// object is not older than that.
	At   time.Time
	JSON json.RawMessage
}

// answer is what Stripe said to one request.
type answer struct {
	stripe.APIResource
	at time.Time
}

// UnmarshalJSON leaves the body to those who asked.
func (*answer) UnmarshalJSON([]byte) error { return nil }

func (c *Client) get(ctx context.Context, path string, params ...string) (*answer, error) {
	return c.call(ctx, http.MethodGet, path, "", params)
}

// call sends a request; params are names and values in turn, of which empty
// values are left out. A POST without an idempotency key gets one that only
// its own retries share.
func (c *Client) call(ctx context.Context, method, path, idempotency string, params []string) (*answer, error) {
	if err := c.limit.Wait(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAway, context.Cause(ctx))
	}
	values := &form.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] != "" {
			values.Add(params[i], params[i+1])
		}
	}
	p := &stripe.Params{Context: ctx}
	if idempotency != "" {
		p.IdempotencyKey = stripe.String(idempotency)
	}
	a := &answer{}
	began := time.Now()
	if err := c.backend.CallRaw(method, path, c.key(), values, p, a); err != nil {
		return nil, c.failed(method, path, err)
	}
	if a.LastResponse == nil || !json.Valid(a.LastResponse.RawJSON) {
		return nil, fmt.Errorf("%w: %s %s: the answer is not JSON", ErrAway, method, path)
	}
	a.at = askedAt(a.LastResponse.Header, time.Since(began), began)
	return a, nil
}

// askedAt is the moment of the question by the clock of who answered: the
// answer's date less the time that it took.
func askedAt(h http.Header, took time.Duration, began time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		began = date.Add(-took)
	}
	return began.UTC().Truncate(time.Second)
}

func (a *answer) decode(v any) error {
	if err := json.Unmarshal(a.LastResponse.RawJSON, v); err != nil {
		return fmt.Errorf("%w: the answer has an unexpected form: %w", ErrAway, err)
	}
	return nil
}

// object reads the answer, or one member of its list, as an object.
func (a *answer) object(raw json.RawMessage) (Object, error) {
	var head struct {
		ID     string `json:"id"`
		Object string `json:"object"`
	}
	if err := json.Unmarshal(raw, &head); err != nil || head.ID == "" || head.Object == "" {
		return Object{}, fmt.Errorf("%w: the answer is no object", ErrAway)
	}
	return Object{ID: head.ID, Type: head.Object, At: a.at, JSON: raw}, nil
}
