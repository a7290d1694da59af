package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/teststripe"
)

// TestAgainstStripeMock sends every kind of request to Stripe's mock server, which
// checks it against Stripe's specification, and reads the answers.
func TestAgainstStripeMock(t *testing.T) {
	t.Parallel()
	for version := range teststripe.Mocks {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c, err := New(Options{Key: "sk_test_123", Base: teststripe.Mock(t, version), Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			fetchesAll(t, c)
			listsAll(t, c)
			makesAll(t, c)
			if _, err := c.get(t.Context(), "/v1/customers", "nonsense", "1"); !errors.Is(err, ErrRequest) {
				t.Errorf("the mock does not look at parameters: %v", err)
			}
		})
	}
}

func fetchesAll(t *testing.T, c *Client) {
	t.Helper()
	for typ, path := range paths {
		o, err := c.Fetch(t.Context(), typ, "x_123")
		if err != nil || o.Type != typ || o.ID == "" || !json.Valid(o.JSON) || time.Since(o.At).Abs() > time.Hour {
			t.Errorf("%s at %s: %+v, %v", typ, path, o, err)
		}
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func listsAll(t *testing.T, c *Client) {
	t.Helper()
	check := func(typ string, p Page, err error) {
		t.Helper()
		if err != nil || len(p.Objects) != 1 || p.Objects[0].Type != typ || p.Objects[0].ID == "" || p.At.IsZero() {
			t.Errorf("%s: %+v, %v", typ, p, err)
		}
	}
	for _, after := range []string{"", "x_123"} {
		p, err := c.Subscriptions(t.Context(), after)
		check("subscription", p, err)
		p, err = c.Customers(t.Context(), after)
		check("customer", p, err)
		p, err = c.Products(t.Context(), after)
		check("product", p, err)
		p, err = c.Events(t.Context(), time.Now().Add(-time.Hour), after)
		check("event", p, err)
	}
	if id, err := c.Price(t.Context(), "pro_monthly"); err != nil || !strings.HasPrefix(id, "price_") {
		t.Errorf("price %q, %v", id, err)
	}
}

func makesAll(t *testing.T, c *Client) {
	t.Helper()
	order := Checkout{Customer: "acme", CustomerKey: "tidegate_customer", Email: "ada@acme.example", Price: "price_1",
		SuccessURL: "https://acme.example/welcome?s={CHECKOUT_SESSION_ID}", CancelURL: "https://acme.example/pricing"}
	for _, customer := range []string{"", "cus_1"} {
		order.StripeCustomer = customer
		if page, err := c.Checkout(t.Context(), order, time.Now()); err != nil || !strings.HasPrefix(page, "https://") {
			t.Errorf("checkout: %q, %v", page, err)
		}
	}
	if page, err := c.Portal(t.Context(), "cus_1", "https://acme.example"); err != nil || !strings.HasPrefix(page, "https://") {
		t.Errorf("portal: %q, %v", page, err)
	}
	made, err := c.CreateEndpoint(t.Context(), "https://gate.acme.example/webhooks/stripe")
	if err != nil || made.ID == "" || made.Status == "" {
		t.Errorf("endpoint: %+v, %v", made, err)
	}
	if _, err := c.UpdateEndpoint(t.Context(), Endpoint{ID: "we_1", Events: []string{"customer.updated"}}); err != nil {
		t.Error(err)
	}
	const sample = "https://example.com/my/webhook/endpoint"
	found, err := c.Endpoints(t.Context(), sample)
	if err != nil || len(found) != 1 || found[0].URL != sample || len(found[0].Events) == 0 {
		t.Errorf("endpoints: %+v, %v", found, err)
	}
}
