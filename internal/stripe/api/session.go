package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// maxReference is how many characters a session's client_reference_id may have. A
// longer customer id is only in the metadata.
const maxReference = 200

// A session lives 24 hours. Clicks lead to the same one for half of that, so that who
// clicks last has time to pay, and a session is not used once less than sessionLeft of
// its life is left.
const (
	sessionReuse = 12 * time.Hour
	sessionLeft  = 30 * time.Minute
)

// Checkout describes a checkout session.
type Checkout struct {
	Customer       string // ours
	CustomerKey    string // metadata key that holds it
	StripeCustomer string // "": Stripe creates one
	Email          string // prefilled when StripeCustomer is ""; may be empty
	Price          string // id
	SuccessURL     string
	CancelURL      string // may be empty

	// Since names what the customer has bought until now. A session that was paid is
	// over: after it, Since is another one, and so is the session.
	Since string
}

// Checkout creates a session for a subscription and returns the URL of its page.
// An equal request within twelve hours returns the same session, also by another
// process.
func (c *Client) Checkout(ctx context.Context, o Checkout, now time.Time) (string, error) {
	params := []string{
		"mode", "subscription", "line_items[0][price]", o.Price, "line_items[0][quantity]", "1",
		"success_url", o.SuccessURL, "cancel_url", o.CancelURL,
		"metadata[" + o.CustomerKey + "]", o.Customer,
		"subscription_data[metadata][" + o.CustomerKey + "]", o.Customer,
	}
	if utf8.RuneCountInString(o.Customer) <= maxReference {
		params = append(params, "client_reference_id", o.Customer)
	}
	if o.StripeCustomer != "" {
		params = append(params, "customer", o.StripeCustomer)
	} else if a, err := mail.ParseAddress(o.Email); err == nil && a.Address == o.Email {
		params = append(params, "customer_email", o.Email)
	}
	key := once(now, append(params[:len(params):len(params)], "since", o.Since))
	if url := c.pages.get(key, now); url != "" {
		return url, nil
	}
	s, err := c.session(ctx, "/v1/checkout/sessions", key, params)
	if err == nil && s.ExpiresAt > 0 {
		c.pages.put(key, page{s.URL, time.Unix(s.ExpiresAt, 0).Add(-sessionLeft)}, now)
	}
	return s.URL, err
}

// page is the page of a session that was made.
type page struct {
	url   string
	until time.Time
}

// pages are those by the idempotency keys of their sessions. It is safe for concurrent
// use.
type pages struct {
	mu  sync.Mutex
	all map[string]page
}

// maxPages bounds the pages, of some hundred bytes each. One that was dropped costs a
// request, to which Stripe answers with the same session.
const maxPages = 10_000

func (p *pages) get(key string, now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of := p.all[key]; now.Before(of.until) {
		return of.url
	}
	return ""
}

func (p *pages) put(key string, of page, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]page{}
	}
	if len(p.all) >= maxPages {
		maps.DeleteFunc(p.all, func(_ string, of page) bool { return !now.Before(of.until) })
	}
	for old := range p.all {
		if len(p.all) < maxPages {
			break
		}
		delete(p.all, old)
	}
	p.all[key] = of
}

// Portal creates a session of the billing portal and returns its URL.
func (c *Client) Portal(ctx context.Context, stripeCustomer, returnURL string) (string, error) {
	s, err := c.session(ctx, "/v1/billing_portal/sessions", "", []string{"customer", stripeCustomer, "return_url", returnURL})
	return s.URL, err
}

// once returns an idempotency key for a request with these parameters. Stripe
// refuses a key that comes again with other parameters.
func once(now time.Time, params []string) string {
	slot := now.Unix() / int64(sessionReuse/time.Second)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s", slot, strings.Join(params, "\x00")))
	return "tidegate-" + hex.EncodeToString(sum[:20])
}

// session is a page at Stripe as it was made.
type session struct {
	URL       string `json:"url"`
	ExpiresAt int64  `json:"expires_at"` // 0: not told
}

func (c *Client) session(ctx context.Context, path, idempotency string, params []string) (s session, err error) {
	a, err := c.call(ctx, http.MethodPost, path, idempotency, params)
	if err != nil {
		return session{}, err
	}
	if err := a.decode(&s); err != nil {
		return session{}, err
	}
	if !strings.HasPrefix(s.URL, "https://") && !strings.HasPrefix(s.URL, "http://") {
		return session{}, fmt.Errorf("%w: the session has no page", ErrRequest)
	}
	return s, nil
}
