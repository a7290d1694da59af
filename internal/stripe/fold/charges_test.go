package fold

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func refundsOf(s *State, customer string) string {
	out := ""
	for _, r := range s.Refunds(customer) {
		out += fmt.Sprintf("%s %s %d %s %v; ", r.Key, r.Event, r.Amount, r.Currency, r.Dispute)
	}
	return out
}

func TestRefundsAreEmittedAndChangeNoPlan(t *testing.T) {
	t.Parallel()
	for _, sh := range shapes {
		shop := newShop("cus_1", "acme")
		shop.shape = sh
		s := folded(t, testConfig(), shop.buy("sub_1", "price_pro").wait(time.Hour).refund(500).wait(time.Hour).refund(2000).dispute())
		if got := refundsOf(s, "acme"); got != "ch_1 evt_cus_1_894 2000 usd false; dp_1 evt_cus_1_893 2000 usd true; " {
			t.Errorf("%s: refunds %q", sh.version, got)
		}
		if doc, _ := s.Subscription("acme"); doc.Plan != "pro" {
			t.Errorf("%s: a refund takes the plan: %+v", sh.version, doc)
		}
	}
}

// TestDisputeWaitsForItsCharge: a dispute does not name a customer.
func TestDisputeWaitsForItsCharge(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "").dispute()
	s := folded(t, testConfig(), sh)
	charge := fetchedRecord(t, 7, t0.Add(time.Minute), sh.charge(0))
	if c := s.Apply(charge); len(c) != 0 || refundsOf(s, "acme") != "" {
		t.Fatalf("an unmapped dispute changed %+v", c)
	}
	to := func(customer string, seq uint64) []Change {
		return s.Apply(Record{Kind: KindMap, Seq: seq, Time: t0, Map: Mapping{Customer: customer, StripeCustomer: "cus_1"}})
	}
	isRefund := func(c Change) bool { return c.Account != nil && c.Account.Refund != nil }
	c := to("acme", 8)
	if i := slices.IndexFunc(c, isRefund); i < 0 || c[i].Account.Refund.Key != "dp_1" || !c[i].Account.Refund.Dispute {
		t.Fatalf("changes %+v", c)
	}
	c = to("other", 9)
	if i := slices.IndexFunc(c, isRefund); i < 0 || c[i].Customer != "acme" || !c[i].Account.Refund.Void || refundsOf(s, "other") == "" {
		t.Fatalf("changes %+v", c)
	}
}
