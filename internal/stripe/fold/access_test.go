package fold

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// folded returns a state with all events of the shops.
func folded(t *testing.T, cfg Config, shops ...*shop) *State {
	t.Helper()
	s := New(cfg)
	sc := scenario{shops: shops}
	fold(s, sc.records(), time.Time{})
	return s
}

func TestAccessByStatus(t *testing.T) {
	t.Parallel()
	for status, paid := range map[string]bool{
		"active": true, "trialing": true, "past_due": true,
		"incomplete": false, "incomplete_expired": false, "unpaid": false, "canceled": false, "paused": false, "unheard_of": false,
	} {
		sh := newShop("cus_1", "acme").create("sub_1", "price_pro", status)
		s := folded(t, testConfig(), sh)
		st := s.facts.Customers["acme"].State
		if st.Paid != paid || (st.Plan == "pro") != paid || st.Status != status {
			t.Errorf("%s: %+v", status, st)
		}
	}
}

func TestGraceEndsByTimer(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").buy("sub_1", "price_pro").wait(month)
	sh.update("sub_1", fields{"status": "past_due"})
	failed := sh.at
	// Another event of the same failed payment must not extend the grace period.
	sh.wait(2*24*time.Hour).update("sub_1", fields{"cancel_at": nil})
	s := folded(t, testConfig(), sh)
	end := failed.Add(DefaultGrace)
	if !s.NextTimer().Equal(end) {
		t.Fatalf("timer %s, want %s", s.NextTimer(), end)
	}
	doc, _ := s.Subscription("acme")
	if doc.Plan != "pro" || doc.GraceUntil == nil || !doc.GraceUntil.Equal(end) {
		t.Errorf("before: %+v", doc)
	}
	if c := s.Advance(end.Add(-time.Second)); len(c) != 0 {
		t.Errorf("too early: %+v", c)
	}
	c := s.Advance(end)
	if len(c) != 1 || c[0].Account == nil || c[0].Subscription == nil {
		t.Fatalf("changes %+v", c)
	}
	st := c[0].Account.Subscription
	if st.Paid || st.Plan != "" || st.Status != "past_due" || !st.CausedAt.Equal(end) {
		t.Errorf("after: %+v", st)
	}
	if !s.NextTimer().IsZero() {
		t.Errorf("timer left: %s", s.NextTimer())
	}
	cfg := testConfig()
	cfg.Grace = 30 * 24 * time.Hour
	if c := s.Configure(cfg); len(c) != 1 || !c[0].Account.Subscription.Paid {
		t.Errorf("a longer grace gives access back: %+v", c)
	}
}

func TestCancellationByTimer(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]fields{
		"at period end": {"cancel_at_period_end": true},
		"at a moment":   {"cancel_at": t0.Add(month).Unix()},
	} {
		t.Run(name, func(t *testing.T) {
			s := folded(t, testConfig(), newShop("cus_1", "acme").buy("sub_1", "price_pro").update("sub_1", change))
			end := s.NextTimer()
			if d := end.Sub(t0); d < month || d > month+24*time.Hour {
				t.Fatalf("timer %s", end)
			}
			doc, _ := s.Subscription("acme")
			if doc.CancelAt == nil || !doc.CancelAt.Equal(end) || doc.Plan != "pro" {
				t.Errorf("before: %+v", doc)
			}
			c := s.Advance(end)
			if len(c) != 1 || c[0].Account.Subscription.Paid || c[0].Account.Subscription.Status != "canceled" {
				t.Errorf("after: %+v", c)
			}
		})
	}
}

func TestRenewalsEmitNothing(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").buy("sub_1", "price_pro")
	s := folded(t, testConfig(), sh)
	for i := range 3 * maxVersions {
		sh.evs = nil
		sh.wait(month).update("sub_1", fields{"current_period_end": sh.at.Add(month).Unix()})
		sc := scenario{shops: []*shop{sh}}
		for _, c := range fold(s, sc.records(), sh.at) {
			if c.Account != nil {
				t.Fatalf("renewal %d said %+v", i, c.Account)
			}
		}
	}
	if n := len(s.facts.Parties["cus_1"].Subs["sub_1"].Log); n != maxVersions {
		t.Errorf("%d versions kept, want %d", n, maxVersions)
	}
	if got := paymentsOf(s, "acme"); got != "acme/sub_1 evt_cus_1_898 free→pro 2000" {
		t.Errorf("payments %q", got)
	}
	doc, _ := s.Subscription("acme")
	if len(doc.History) != 1 || !doc.History[0].At.Equal(t0) {
		t.Errorf("history %+v", doc.History)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").buy("sub_1", "price_pro")
	for range 40 {
		sh.wait(time.Hour).update("sub_1", fields{"price": "price_team"})
		sh.wait(time.Hour).update("sub_1", fields{"price": "price_pro"})
	}
	sh.n = 0
	doc, _ := folded(t, testConfig(), sh).Subscription("acme")
	if len(doc.History) != maxHistory || doc.History[maxHistory-1].Plan != "pro" {
		t.Errorf("%d entries, the last %+v", len(doc.History), doc.History[len(doc.History)-1])
	}
}

func TestPlanOfPrice(t *testing.T) {
	t.Parallel()
	cfg := Plans{
		Order: []string{"free", "pro", "team"}, Default: "free",
		LookupKeys: map[string]string{"key": "pro"}, Prices: map[string]string{"price": "team"}, Products: map[string]string{"prod": "pro"},
	}
	facts := newFacts().Prices
	at := stamp{At: t0, ID: "evt"}
	facts.addPrice(item{Price: "old", Lookup: "key"}, at)
	facts.addPrice(item{Price: "old"}, stamp{At: t0.Add(time.Second), ID: "evt"})
	facts.addPrice(item{Price: "named", Plan: "team"}, at)
	facts.addPrice(item{Price: "ours", Product: "prod"}, at)
	facts.addProduct("described", "team", at)
	for _, c := range []struct {
		it   item
		any  string
		want string
	}{
		{item{Price: "price", Lookup: "key"}, "", "pro"},
		{item{Price: "price", Product: "prod"}, "", "team"},
		{item{Price: "x", Product: "prod", Plan: "team"}, "", "pro"},
		{item{Price: "x", Plan: "team"}, "", "team"},
		{item{Price: "x", Plan: "no such plan"}, "", ""},
		{item{Price: "named"}, "", "team"},
		{item{Price: "ours"}, "", "pro"},
		{item{Price: "x", Product: "described"}, "", "team"},
		{item{Price: "old"}, "", "pro"},
		{item{Price: "x"}, "paid", "paid"},
		{item{Price: "x"}, "", ""},
	} {
		cfg.Any = c.any
		if got := cfg.of(c.it, &facts); got != c.want {
			t.Errorf("%+v any %q: %q, want %q", c.it, c.any, got, c.want)
		}
	}
}

func TestUnknownPriceAlertsUntilConfigured(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	sc := scenario{shops: []*shop{newShop("cus_1", "acme").create("sub_1", "price_x", "active").invoice("invoice.paid", "sub_1", 100, "subscription_create")}}
	changes := fold(s, sc.records(), t0)
	if len(changes) == 0 || !reflect.DeepEqual(changes[0].UnknownPrices, []string{"price_x"}) || changes[0].Account.Subscription.Paid {
		t.Fatalf("changes %+v", changes)
	}
	if got := s.UnknownPrices(); len(got) != 1 || got[0].Price != "price_x" || got[0].Customers[0] != "acme" {
		t.Errorf("unknown prices %+v", got)
	}
	cfg := testConfig()
	cfg.Plans.Any = "paid"
	c := s.Configure(cfg)
	if len(c) != 2 || c[0].Account.Subscription.Plan != "paid" || c[1].Account.Payment == nil || len(s.UnknownPrices()) != 0 {
		t.Errorf("after: %+v, unknown %v", c, s.UnknownPrices())
	}
}

func TestLookupKeyMovedToANewPrice(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").buy("sub_1", "price_pro").wait(time.Hour)
	sh.emit("price.updated", fields{"id": "price_pro", "object": "price", "lookup_key": nil, "product": "prod_of_price_pro"}, nil)
	s := folded(t, testConfig(), sh)
	if st := s.facts.Customers["acme"].State; st.Plan != "pro" {
		t.Errorf("who pays the old price has %+v", st)
	}
}

func TestProductMetadataNamesThePlan(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").create("sub_1", "price_x", "active").wait(time.Hour)
	sh.emit("product.updated", fields{"id": "prod_of_price_x", "object": "product", "metadata": fields{"plan": "team"}}, nil)
	s := folded(t, testConfig(), sh)
	if st := s.facts.Customers["acme"].State; st.Plan != "team" || !st.Paid {
		t.Errorf("state %+v", st)
	}
}

func TestOwnerOfASubscription(t *testing.T) {
	t.Parallel()
	meta := func(id string) fields { return fields{DefaultCustomerKey: id} }
	facts := []func(s *shop){ // later ones win
		func(s *shop) {
			s.emit("customer.updated", fields{"id": "cus_1", "object": "customer", "metadata": meta("by-customer")}, nil)
		},
		func(s *shop) {
			s.emit("checkout.session.completed", fields{"object": "checkout.session", "customer": "cus_1", "subscription": "sub_1", "client_reference_id": "by-reference"}, nil)
		},
		func(s *shop) {
			s.emit("checkout.session.completed", fields{"object": "checkout.session", "customer": "cus_1", "subscription": "sub_1", "metadata": meta("by-session")}, nil)
		},
		func(s *shop) {
			s.emit("invoice.paid", fields{"object": "invoice", "customer": "cus_1", "parent": fields{"subscription_details": fields{"subscription": "sub_1", "metadata": meta("by-invoice")}}}, nil)
		},
		func(s *shop) { s.owner = "by-subscription"; s.update("sub_1", fields{"status": "active"}) },
	}
	want := []string{"by-customer", "by-reference", "by-session", "by-invoice", "by-subscription"}
	for n := range facts {
		sh := newShop("cus_1", "").create("sub_1", "price_pro", "active").wait(time.Second)
		for i := n; i >= 0; i-- {
			facts[i](sh)
		}
		s := folded(t, testConfig(), sh)
		if got := fmt.Sprint(s.owners("cus_1")); got != fmt.Sprintf("map[%s:true]", want[n]) {
			t.Errorf("%d claims: %s, want %s", n+1, got, want[n])
		}
		if doc, _ := s.Subscription(want[n]); doc.Plan != "pro" {
			t.Errorf("%s has plan %q", want[n], doc.Plan)
		}
		s.Apply(Record{Kind: KindMap, Seq: 99, Map: Mapping{Customer: "by-operator", StripeCustomer: "cus_1"}})
		if doc, _ := s.Subscription("by-operator"); doc.Plan != "pro" {
			t.Errorf("the operator's map does not win over %s", want[n])
		}
		s.Apply(Record{Kind: KindMap, Seq: 100, Map: Mapping{StripeCustomer: "cus_1"}})
		if doc, _ := s.Subscription(want[n]); doc.Plan != "pro" {
			t.Errorf("%s is not back after the map was taken back", want[n])
		}
	}
}

// TestAccountInPlaceOfACustomer: in new API versions an account may take the
// customer's place.
func TestAccountInPlaceOfACustomer(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme")
	sh.shape = shapes[len(shapes)-1]
	sh.create("sub_1", "price_pro", "active")
	var e fields
	if err := json.Unmarshal(sh.evs[0], &e); err != nil {
		t.Fatal(err)
	}
	o := e["data"].(fields)["object"].(fields)
	o["customer"], o["customer_account"] = nil, "acct_1"
	sh.evs = nil
	sh.emit("customer.subscription.created", o, nil)
	s := folded(t, testConfig(), sh)
	if doc, _ := s.Subscription("acme"); doc.Plan != "pro" || doc.StripeCustomer != "acct_1" {
		t.Errorf("document %+v", doc)
	}
}

func TestOneStripeCustomerForSeveralCustomers(t *testing.T) {
	t.Parallel()
	agency := newShop("cus_1", "")
	agency.customer("customer.created", "agency@acme.example")
	agency.owner = "one"
	agency.buy("sub_1", "price_pro")
	agency.owner = "two"
	agency.buy("sub_2", "price_team").end("sub_2")
	s := folded(t, testConfig(), agency)
	one, _ := s.Subscription("one")
	two, _ := s.Subscription("two")
	if one.Plan != "pro" || two.Plan != "free" || len(one.Subscriptions) != 1 || len(two.Subscriptions) != 1 {
		t.Errorf("one %+v two %+v", one, two)
	}
}

func TestDeletedCustomerLosesAddress(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").customer("customer.created", "ada@acme.example").buy("sub_1", "price_pro")
	s := folded(t, testConfig(), sh)
	sh.evs = nil
	sc := scenario{shops: []*shop{sh.wait(time.Hour).customer("customer.deleted", "ada@acme.example")}}
	c := fold(s, sc.records(), sh.at)
	if len(c) != 1 || c[0].Account.Email == nil || *c[0].Account.Email != "" || c[0].Account.Subscription.Paid {
		t.Errorf("changes %+v", c[0].Account)
	}
}

func fetchedRecord(t *testing.T, seq uint64, at time.Time, o fields) Record {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFetched(raw, "2023-10-16", at)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := ParseRecord(KindFetched, body, seq, at)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestFetchedObjectOrdersAmongEvents(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").buy("sub_1", "price_pro")
	fetch := func(seq uint64, at time.Time, status string) Record {
		sh.subs["sub_1"]["status"] = status
		return fetchedRecord(t, seq, at, sh.object("sub_1"))
	}
	status := func(recs ...Record) string {
		s := folded(t, testConfig(), sh)
		fold(s, recs, time.Time{})
		doc, _ := s.Subscription("acme")
		return doc.Status
	}
	early, same := fetch(50, t0.Add(-time.Minute), "canceled"), fetch(51, t0, "unpaid")
	twice, next := fetch(52, t0.Add(500*time.Millisecond), "past_due"), fetch(40, t0.Add(time.Second), "paused")
	for _, c := range []struct {
		want string
		recs []Record
	}{
		{"active", []Record{early}},
		{"unpaid", []Record{early, same}}, // it shows the changes of its second
		{"past_due", []Record{twice, same}},
		{"past_due", []Record{same, twice}},
		{"paused", []Record{next, twice}},
	} {
		if got := status(c.recs...); got != c.want {
			t.Errorf("status %q, want %q: %+v", got, c.want, c.recs)
		}
	}
	sh.subs["sub_1"]["status"] = "active"
	sh.at = t0
	sh.end("sub_1")
	if got := status(same); got != "canceled" {
		t.Errorf("an end of the same second is lost: %q", got)
	}
}

func TestFetchedInvoiceIsThePaymentOfItsEvent(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").create("sub_1", "price_pro", "active")
	o := fields{"id": "in_1", "object": "invoice", "customer": "cus_1", "subscription": "sub_1", "status": "paid", "amount_paid": 2000,
		"currency": "usd", "billing_reason": "subscription_create", "created": t0.Unix(), "status_transitions": fields{"paid_at": t0.Add(time.Second).Unix()}}
	fetched := fetchedRecord(t, 9, t0.Add(time.Minute), o)
	s := folded(t, testConfig(), sh)
	fold(s, []Record{fetched}, time.Time{})
	if got := paymentsOf(s, "acme"); got != "acme/sub_1 in_1 free→pro 2000" {
		t.Errorf("payments %q", got)
	}
	sh.wait(3*time.Second).emit("invoice.paid", o, nil)
	s = folded(t, testConfig(), sh)
	fold(s, []Record{fetched}, time.Time{})
	if got := paymentsOf(s, "acme"); got != "acme/sub_1 evt_cus_1_898 free→pro 2000" {
		t.Errorf("payments %q", got)
	}
}

func TestFetchedNeedsAnObject(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "null", "{}", "[]", `{"id":"sub_1"}`, `{"object":"subscription"}`} {
		if _, err := NewFetched(json.RawMessage(raw), "", t0); !errors.Is(err, ErrRecord) {
			t.Errorf("%q: error %v", raw, err)
		}
	}
}

func TestPaymentBeforeTheFirstEventIsNoConversion(t *testing.T) {
	t.Parallel()
	old := newShop("cus_1", "acme")
	old.subs["sub_1"] = fields{"price": "price_pro", "status": "active", "created": t0.AddDate(-1, 0, 0).Unix(), "current_period_end": t0.Unix()}
	old.update("sub_1", fields{"current_period_end": t0.Add(month).Unix()}).invoice("invoice.paid", "sub_1", 2000, "subscription_cycle")
	// A second subscription does not make a paying customer a new one.
	old.wait(time.Hour).create("sub_2", "price_team", "active").invoice("invoice.paid", "sub_2", 9000, "subscription_create")
	s := folded(t, testConfig(), old)
	if got := paymentsOf(s, "acme"); got != "" {
		t.Errorf("payments %q", got)
	}
	if doc, _ := s.Subscription("acme"); doc.Plan != "team" {
		t.Errorf("plan %q", doc.Plan)
	}
}
