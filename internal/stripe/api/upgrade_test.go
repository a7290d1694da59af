package api

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPage(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	cus := s.Customer("ada@acme.example")
	visit := func(change func(*Visit)) Visit {
		v := Visit{Checkout: order("acme")}
		v.Checkout.Price, v.Checkout.StripeCustomer = "pro_monthly", cus
		change(&v)
		return v
	}
	for name, tc := range map[string]struct {
		v     Visit
		where string
		err   bool
	}{
		"a new one":                  {visit(func(*Visit) {}), "checkout.stripe.com", false},
		"by price id":                {visit(func(v *Visit) { v.Checkout.Price = "price_1" }), "checkout.stripe.com", false},
		"pays already":               {visit(func(v *Visit) { v.Subscribed = true }), "", false},
		"pays, portal":               {visit(func(v *Visit) { v.Subscribed, v.Portal = true, true }), "billing.stripe.com", false},
		"new, portal":                {visit(func(v *Visit) { v.Portal = true }), "checkout.stripe.com", false},
		"pays, unknown to Stripe":    {visit(func(v *Visit) { v.Subscribed, v.Portal, v.Checkout.StripeCustomer = true, true, "" }), "", false},
		"no price":                   {visit(func(v *Visit) { v.Checkout.Price = "" }), "", false},
		"no price that Stripe has":   {visit(func(v *Visit) { v.Checkout.Price = "none" }), "", true},
		"nowhere to go to":           {visit(func(v *Visit) { v.Checkout.SuccessURL = "" }), "", true},
		"a portal, nowhere to go to": {visit(func(v *Visit) { v.Subscribed, v.Portal, v.Checkout.CancelURL = true, true, "" }), "billing.stripe.com", false},
	} {
		page, err := c.Page(t.Context(), tc.v, noon)
		if (err != nil) != tc.err || (page == "") != (tc.where == "") || !strings.Contains(page, tc.where) {
			t.Errorf("%s: %q, %v", name, page, err)
		}
	}
}

// TestPriceIsLookedUpOnce: a price is cached for a while, and looked up again when
// it is no longer sold.
func TestPriceIsLookedUpOnce(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	v := Visit{Checkout: order("acme")}
	v.Checkout.Price = "pro_monthly"
	page := func(at time.Time) error {
		_, err := c.Page(t.Context(), v, at)
		return err
	}
	for i := range 3 {
		if err := page(noon.Add(time.Duration(i) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Requests("GET /v1/prices")); n != 1 {
		t.Errorf("looked up %d times", n)
	}
	old := s.Get("price_1")
	old["active"], old["lookup_key"] = false, nil
	s.Put(old)
	s.Price("price_2", "pro_monthly", "prod_1")
	v.Checkout.Customer = "globex"
	if err := page(noon.Add(time.Minute)); !errors.Is(err, ErrRequest) {
		t.Errorf("of a price that is gone: %v", err)
	}
	if err := page(noon.Add(time.Minute)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := page(noon.Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if n := len(s.Requests("GET /v1/prices")); n != 3 {
		t.Errorf("looked up %d times", n)
	}
}
