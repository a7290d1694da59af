package fold

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestAMappingIsNotTakenAway(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	seq := uint64(0)
	say := func(customer, stripe string, unlessTaken bool) []Change {
		seq++
		return s.Apply(Record{Kind: KindMap, Seq: seq, Time: t0, Map: Mapping{Customer: customer, StripeCustomer: stripe, UnlessTaken: unlessTaken}})
	}
	holds := func(want string) {
		t.Helper()
		if c := s.Claims([]string{"cus_1"})["cus_1"]; c.Mapped != want || want != "" && c.Owners[0] != want {
			t.Errorf("%+v, want %s", c, want)
		}
	}
	holds("")
	say("acme", "cus_1", true)
	holds("acme")
	if changes := say("globex", "cus_1", true); len(changes) != 0 {
		t.Errorf("%+v", changes)
	}
	holds("acme")
	say("acme", "cus_1", true) // once more
	holds("acme")
	say("globex", "cus_1", false)
	holds("globex")
	say("acme", "cus_1", true)
	holds("globex")
	say("globex", "", false) // taken back: free
	say("acme", "cus_1", true)
	holds("acme")
	say("", "cus_1", false)
	say("globex", "cus_1", true)
	holds("globex")
}

func TestClaims(t *testing.T) {
	t.Parallel()
	s := folded(t, testConfig(),
		newShop("cus_own", "acme").create("sub_1", "price_pro", "active"),
		newShop("cus_free", "").create("sub_2", "price_pro", "active"))
	s.Apply(Record{Kind: KindMap, Seq: 1000, Time: t0, Map: Mapping{Customer: "globex", StripeCustomer: "cus_mapped"}})
	got := s.Claims([]string{"cus_own", "cus_free", "cus_mapped", "cus_never"})
	want := map[string]Claim{"cus_own": {Owners: []string{"acme"}}, "cus_mapped": {Mapped: "globex", Owners: []string{"globex"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	own := got["cus_own"]
	if own.TakenFrom("acme") != "" || own.TakenFrom("globex") != "acme" || new(Claim).TakenFrom("acme") != "" {
		t.Errorf("%+v", own)
	}
}

// TestClaimsFitIntoMessages: the longest ids that a question may have.
func TestClaimsFitIntoMessages(t *testing.T) {
	t.Parallel()
	s, ids := New(testConfig()), make([]string, MaxClaims)
	for i := range ids {
		ids[i] = fmt.Sprintf("%0255d", i)
		customer := fmt.Sprintf("%d", i) + strings.Repeat("x", 250)
		s.Apply(Record{Kind: KindMap, Seq: uint64(i + 1), Time: t0, Map: Mapping{Customer: customer, StripeCustomer: ids[i]}})
	}
	for _, v := range []any{ids, s.Claims(ids)} {
		if b, err := json.Marshal(v); err != nil || len(b) > 1<<20 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
}

// Who has lost one of several Stripe customers is told which one is left: the mapping
// itself has shown the one that went.
func TestTheFormerOwnerOfAStripeCustomerShowsAnother(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	seq := uint64(0)
	maps := func(customer, stripe string) []Change {
		seq++
		return s.Apply(Record{Kind: KindMap, Seq: seq, Time: t0, Map: Mapping{Customer: customer, StripeCustomer: stripe}})
	}
	maps("acme", "cus_1")
	maps("acme", "cus_2")
	for _, c := range maps("globex", "cus_2") {
		if c.Customer == "acme" && c.Account != nil && c.Account.StripeCustomer != nil && *c.Account.StripeCustomer == "cus_1" {
			return
		}
	}
	t.Error("nothing says that acme has cus_1 only")
}
