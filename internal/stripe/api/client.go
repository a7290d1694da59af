// Package api sends Tidegate's requests to Stripe. It fetches and lists objects,
// and creates checkout sessions, portal sessions and webhook endpoints. The role
// that fetches objects, the gateway and the commands call it. A Client is safe for
// concurrent use.
//
// A Client has its own stripe-go backend and does not use the library's global
// key. It sends no telemetry, has time-outs and retries, and bounds its rate. It
// returns Stripe's JSON unchanged (the library's types drop fields that their
// version does not have), with the moment of the request by Stripe's clock. Its
// errors contain no key and no secret.
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

// APIVersion is the version of Stripe's API that requests ask for.
const APIVersion = stripe.APIVersion

// DefaultBase is the address of Stripe's API.
const DefaultBase = stripe.APIURL

// Options configures a Client. Only Key is required.
type Options struct {
	Key     string
	Base    string        // address of the API, for tests; "" means DefaultBase
	Timeout time.Duration // of one attempt; 0 means 20 s
	Retries int           // after a broken connection, 5xx or a conflict
	// Rate is the maximum number of requests per second; 0 means no maximum. Stripe
	// allows 100 a second (25 in test mode) to all programs of an account together.
	Rate float64
}

// Client sends requests to Stripe. It is safe for concurrent use.
type Client struct {
	backend stripe.Backend
	key     func() string // not a string, which would show when a Client is printed
	limit   *rate.Limiter

	mu     sync.Mutex
	prices map[string]knownPrice // by id or lookup key

	pages pages
}

// New returns a client. It sends no request.
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

// Object is a Stripe object as Stripe returned it.
type Object struct {
	ID   string
	Type string // such as subscription
	// At is the moment of the request by Stripe's clock, in whole seconds. The object
	// is not older.
	At   time.Time
	JSON json.RawMessage
}

// answer is Stripe's answer to one request.
type answer struct {
	stripe.APIResource
	at time.Time
}

// UnmarshalJSON does nothing: the caller reads the body.
func (*answer) UnmarshalJSON([]byte) error { return nil }

func (c *Client) get(ctx context.Context, path string, params ...string) (*answer, error) {
	return c.call(ctx, http.MethodGet, path, "", params)
}

// call sends a request. params holds names and values in turn; call leaves out
// empty values. A POST without an idempotency key gets one for its own retries.
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

// askedAt returns the moment of the request by the server's clock: the date of the
// answer less the time that it took.
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

// object reads raw, the answer or one element of its list, as an object.
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
