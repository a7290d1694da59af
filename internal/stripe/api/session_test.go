package api

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func order(customer string) Checkout {
	return Checkout{Customer: customer, CustomerKey: "tidegate_customer", Price: "price_1",
		SuccessURL: "https://acme.example/welcome", CancelURL: "https://acme.example/pricing"}
}

func TestCheckoutNamesTheCustomer(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	stranger := s.Customer("ada@acme.example")
	for _, tc := range []struct {
		name                    string
		change                  func(*Checkout)
		reference, mail, stripe bool
	}{
		{"a new customer", func(*Checkout) {}, true, false, false},
		{"with an address", func(o *Checkout) { o.Email = "ada@acme.example" }, true, true, false},
		{"with what is none", func(o *Checkout) { o.Customer, o.Email = "globex", "Ada <ada@acme.example>" }, true, false, false},
		{"of Stripe's", func(o *Checkout) { o.StripeCustomer, o.Email = stranger, "ada@acme.example" }, true, false, true},
		{"200 characters", func(o *Checkout) { o.Customer = strings.Repeat("é", 100) + strings.Repeat("x", 56) }, true, false, false},
		{"256 bytes", func(o *Checkout) { o.Customer = strings.Repeat("x", 256) }, false, false, false},
		{"201 characters", func(o *Checkout) { o.Customer = strings.Repeat("x", 201) }, false, false, false},
	} {
		o := order("acme")
		tc.change(&o)
		page, err := c.Checkout(t.Context(), o, noon)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		all := s.Requests("POST /v1/checkout/sessions")
		p := all[len(all)-1].Params
		if p.Get("metadata[tidegate_customer]") != o.Customer || p.Get("subscription_data[metadata][tidegate_customer]") != o.Customer {
			t.Errorf("%s: metadata %v", tc.name, p)
		}
		if got := p.Get("client_reference_id"); (got == o.Customer) != tc.reference || got != "" && got != o.Customer {
			t.Errorf("%s: reference %q", tc.name, got)
		}
		if p.Has("customer_email") != tc.mail || p.Has("customer") != tc.stripe {
			t.Errorf("%s: %v", tc.name, p)
		}
		if !strings.HasPrefix(page, "https://checkout.stripe.com/") || p.Get("mode") != "subscription" || p.Get("line_items[0][price]") != "price_1" {
			t.Errorf("%s: %s %v", tc.name, page, p)
		}
	}
}

// TestClicksShareOneSession: clicks at once, a little later, by another process and
// much later.
func TestClicksShareOneSession(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	pages := make([]string, 8)
	var wg sync.WaitGroup
	for i := range pages {
		wg.Go(func() {
			var err error
			if pages[i], err = c.Checkout(t.Context(), order("acme"), noon.Add(time.Duration(i)*time.Minute)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, p := range pages {
		if p != pages[0] {
			t.Errorf("pages %v", pages)
		}
	}
	for name, o := range map[string]Checkout{"another customer": order("globex"), "another page": func() Checkout {
		o := order("acme")
		o.SuccessURL += "?x"
		return o
	}()} {
		if page, err := c.Checkout(t.Context(), o, noon); err != nil || page == pages[0] {
			t.Errorf("%s: %s, %v", name, page, err)
		}
	}
	made := len(s.Requests("POST /v1/checkout/sessions"))
	if page, err := c.Checkout(t.Context(), order("acme"), noon.Add(11*time.Hour)); err != nil || page != pages[0] {
		t.Errorf("hours later: %s, %v", page, err)
	}
	if n := len(s.Requests("POST /v1/checkout/sessions")); n != made {
		t.Error("Stripe was asked for a session that is known")
	}
	other, err := New(Options{Key: s.Key, Base: s.URL, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if page, err := other.Checkout(t.Context(), order("acme"), noon.Add(time.Hour)); err != nil || page != pages[0] {
		t.Errorf("another process: %s, %v", page, err)
	}
	paid := order("acme")
	paid.Since = "sub_1=canceled,"
	if page, err := c.Checkout(t.Context(), paid, noon.Add(time.Hour)); err != nil || page == pages[0] {
		t.Errorf("after the session was paid: %s, %v", page, err)
	}
	if page, err := c.Checkout(t.Context(), order("acme"), noon.Add(12*time.Hour)); err != nil || page == pages[0] {
		t.Errorf("half a day later: %s, %v", page, err)
	}
}

// TestPagesAreBounded: a page is forgotten when its session ends, and there are never
// more than so many.
func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	var p pages
	p.put("short", page{"https://a", noon.Add(time.Minute)}, noon)
	if p.get("short", noon) != "https://a" || p.get("short", noon.Add(time.Minute)) != "" || p.get("none", noon) != "" {
		t.Error("a page is not kept, or too long")
	}
	later := noon.Add(time.Hour)
	for i := range maxPages + 10 {
		p.put(strconv.Itoa(i), page{"https://b", later.Add(time.Hour)}, later)
	}
	if _, there := p.all["short"]; there || len(p.all) != maxPages {
		t.Errorf("%d pages", len(p.all))
	}
	if p.get(strconv.Itoa(maxPages+9), later) == "" {
		t.Error("the newest is gone")
	}
}

func TestRefusedSessions(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	none := order("acme")
	none.Price = "price_none"
	if _, err := c.Checkout(t.Context(), none, noon); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
	if _, err := c.Portal(t.Context(), "cus_none", ""); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
	s.Fail(500)
	if _, err := c.Portal(t.Context(), "cus_none", ""); !errors.Is(err, ErrAway) {
		t.Error(err)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	const mine = "https://gate.acme.example/webhooks/stripe"
	for range 120 {
		if _, err := c.CreateEndpoint(t.Context(), "https://other.example"); err != nil {
			t.Fatal(err)
		}
	}
	made, err := c.CreateEndpoint(t.Context(), mine)
	if err != nil || !strings.HasPrefix(made.Secret, "whsec_") || made.APIVersion != APIVersion || !made.Complete() {
		t.Fatalf("%+v, %v", made, err)
	}
	found, err := c.Endpoints(t.Context(), mine)
	if err != nil || len(found) != 1 || found[0].ID != made.ID || found[0].Secret != "" {
		t.Fatalf("%+v, %v", found, err)
	}
	o := s.Get(made.ID)
	o["enabled_events"], o["status"] = []string{"customer.updated", "invoice.paid"}, "disabled"
	s.Put(o)
	if found, err = c.Endpoints(t.Context(), mine); err != nil || found[0].Complete() {
		t.Fatalf("%+v, %v", found, err)
	}
	updated, err := c.UpdateEndpoint(t.Context(), found[0])
	if err != nil || !updated.Complete() || len(updated.Events) != len(EventTypes)+1 || updated.Secret != "" {
		t.Errorf("%+v, %v", updated, err)
	}
}
