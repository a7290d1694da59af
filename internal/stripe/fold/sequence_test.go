package fold

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"
)

// apply verifies webhooks as the gateway does and folds them.
func apply(t *testing.T, s *State, hooks []Webhook, now time.Time) {
	t.Helper()
	for _, w := range hooks {
		if _, err := Verify(w.Payload, Sign(w.Payload, "whsec", now), []string{"whsec"}, now); err != nil {
			t.Fatal(err)
		}
		rec, err := ParseRecord(KindStripe, w.Payload, 1, now)
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(rec)
	}
}

func TestUpgradeAndDowngradeInOneSecond(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	now := t0
	for _, backwards := range []bool{false, true} {
		for range 3 {
			for _, want := range []string{"pro", "free"} {
				now = now.Add(time.Millisecond)
				hooks := UpgradeEvents(devUpgrade("acme", now))
				if want == "free" {
					hooks = DowngradeEvents(devUpgrade("acme", now))
				}
				if backwards {
					slices.Reverse(hooks)
				}
				apply(t, s, hooks, now)
				if doc, _ := s.Subscription("acme"); doc.Plan != want {
					t.Fatalf("plan %q, want %q: %+v", doc.Plan, want, doc)
				}
			}
		}
	}
	if got := s.Payments("acme"); len(got) != 1 || got[0].Amount != 2000 || got[0].Currency != "usd" || got[0].ToPlan != "pro" {
		t.Errorf("payments %+v", got)
	}
	if len(unmapped(s)) != 0 {
		t.Errorf("unmapped %+v", unmapped(s))
	}
}

func TestUpgradeToEveryPlanThatHasAPrice(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Plans.Any = "paid"
	for _, plan := range []string{"pro", "team", "paid"} {
		price, ok := cfg.Plans.PriceOf(plan)
		if !ok {
			t.Fatalf("no price leads to %s", plan)
		}
		s := New(cfg)
		apply(t, s, UpgradeEvents(Upgrade{Customer: "acme", Price: price, Now: t0}), t0)
		if doc, _ := s.Subscription("acme"); doc.Plan != plan {
			t.Errorf("plan %q, want %q", doc.Plan, plan)
		}
	}
	if _, ok := cfg.Plans.PriceOf("free"); ok {
		t.Error("a price leads to the free plan")
	}
}

// TestSequencesAreReal reads the sequences with Stripe's library, which accepts
// only its own API version.
func TestSequencesAreReal(t *testing.T) {
	t.Parallel()
	u := devUpgrade("acme", time.Now())
	for _, w := range append(UpgradeEvents(u), DowngradeEvents(u)...) {
		e, err := webhook.ConstructEvent(w.Payload, Sign(w.Payload, "whsec", time.Now()), "whsec")
		if err != nil {
			t.Fatalf("%s: %v", w.Type, err)
		}
		if e.ID != w.ID || string(e.Type) != w.Type || e.APIVersion != stripe.APIVersion {
			t.Errorf("event %s %s %s", e.ID, e.Type, e.APIVersion)
		}
		switch w.Type {
		case "invoice.paid":
			var o stripe.Invoice
			if err := json.Unmarshal(e.Data.Raw, &o); err != nil || o.Subscription.ID != DevSubscription("acme") || o.Lines.Data[0].Price.LookupKey != "pro_monthly" {
				t.Errorf("invoice %+v, %v", o, err)
			}
		case "checkout.session.completed":
			var o stripe.CheckoutSession
			if err := json.Unmarshal(e.Data.Raw, &o); err != nil || o.PaymentStatus != "paid" || o.ClientReferenceID != "acme" {
				t.Errorf("session %+v, %v", o, err)
			}
		case "customer.subscription.updated":
			var o stripe.Subscription
			if err := json.Unmarshal(e.Data.Raw, &o); err != nil || o.Status != "active" || o.Items.Data[0].Price.ID != u.Price.ID {
				t.Errorf("subscription %+v, %v", o, err)
			}
		}
	}
}
