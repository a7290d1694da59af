package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"
)

// maxReference is how many characters a session's client_reference_id may have. A
// longer customer id is only in the metadata.
const maxReference = 200

// sameClick is how long repeated clicks of a customer lead to the same session.
const sameClick = 10 * time.Minute

// Checkout describes a checkout session.
type Checkout struct {
	Customer       string // ours
	CustomerKey    string // metadata key that holds it
	StripeCustomer string // "": Stripe creates one
	Email          string // prefilled when StripeCustomer is ""; may be empty
	Price          string // id
	SuccessURL     string
	CancelURL      string // may be empty
}

// Checkout creates a session for a subscription and returns the URL of its page.
// An equal request within ten minutes returns the same session.
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
	return c.session(ctx, "/v1/checkout/sessions", once(now, params), params)
}

// Portal creates a session of the billing portal and returns its URL.
func (c *Client) Portal(ctx context.Context, stripeCustomer, returnURL string) (string, error) {
	return c.session(ctx, "/v1/billing_portal/sessions", "", []string{"customer", stripeCustomer, "return_url", returnURL})
}

// once returns an idempotency key for a request with these parameters. Stripe
// refuses a key that comes again with other parameters.
func once(now time.Time, params []string) string {
	slot := now.Unix() / int64(sameClick/time.Second)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s", slot, strings.Join(params, "\x00")))
	return "tidegate-" + hex.EncodeToString(sum[:20])
}

func (c *Client) session(ctx context.Context, path, idempotency string, params []string) (string, error) {
	a, err := c.call(ctx, http.MethodPost, path, idempotency, params)
	if err != nil {
		return "", err
	}
	var s struct {
		URL string `json:"url"`
	}
	if err := a.decode(&s); err != nil {
		return "", err
	}
	if !strings.HasPrefix(s.URL, "https://") && !strings.HasPrefix(s.URL, "http://") {
		return "", fmt.Errorf("%w: the session has no page", ErrRequest)
	}
	return s.URL, nil
}
