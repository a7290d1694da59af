package fold

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/records"
)

// fold applies records one after another and then advances the clock.
func fold(s *State, recs []Record, until time.Time) []Change {
	var all []Change
	for i, rec := range recs {
		if rec.Seq == 0 {
			rec.Seq = uint64(i + 1)
		}
		all = append(all, s.Apply(rec)...)
	}
	return append(all, s.Advance(until)...)
}

// summary returns everything that must not depend on order: documents, states and
// conversions of all customers, without positions.
func summary(s *State) string {
	var b strings.Builder
	for _, c := range slices.Sorted(maps.Keys(s.all())) {
		doc, _ := s.Subscription(c)
		doc.Position = 0
		st := s.facts.Customers[c].State
		st.Position = 0
		j, _ := json.Marshal([]any{doc, st, s.facts.Customers[c].Email, s.Payments(c), s.Refunds(c)})
		b.Write(j)
		b.WriteByte('\n')
	}
	j, _ := json.Marshal([]any{unmapped(s), s.UnknownPrices(), s.NextTimer()})
	b.Write(j)
	return b.String()
}

func unmapped(s *State) []Unmapped {
	list, _ := s.Unmapped("", 1000)
	return list
}

func paymentsOf(s *State, customer string) string {
	var all []string
	for _, p := range s.Payments(customer) {
		all = append(all, fmt.Sprintf("%s %s %s→%s %d", p.Key, p.Event, p.FromPlan, p.ToPlan, p.Amount))
	}
	return strings.Join(all, "; ")
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, scs := range versions() {
		alike := ""
		for i, sc := range scs {
			t.Run(sc.name+"/"+shapes[i].version, func(t *testing.T) {
				s := New(testConfig())
				fold(s, sc.records(), sc.end())
				doc, ok := s.Subscription("acme")
				if !ok || doc.Plan != sc.plan || doc.Status != sc.status {
					t.Errorf("plan %q status %q, want %q %q", doc.Plan, doc.Status, sc.plan, sc.status)
				}
				if got := paymentsOf(s, "acme"); got != sc.payments {
					t.Errorf("payments %q, want %q", got, sc.payments)
				}
				if len(doc.History) == 0 || doc.History[len(doc.History)-1].Status != doc.Status {
					t.Errorf("history %+v does not end in %q", doc.History, doc.Status)
				}
				if got := summary(s); i == 0 {
					alike = got
				} else if got != alike {
					t.Errorf("an API version is read differently:\n%s\n%s", alike, got)
				}
			})
		}
	}
}

// scrambled draws a permutation of the records with some of them repeated.
func scrambled(t *rapid.T, recs []Record) []Record {
	which := rapid.SliceOfN(rapid.IntRange(0, len(recs)-1), 0, 6).Draw(t, "twice")
	for i := range recs {
		which = append(which, i)
	}
	var out []Record
	for _, i := range rapid.Permutation(which).Draw(t, "order") {
		out = append(out, recs[i])
	}
	return out
}

func TestAnyOrderAnyDuplication(t *testing.T) {
	t.Parallel()
	all := slices.Concat(versions()...)
	want := map[string]string{}
	for _, sc := range all {
		s := New(testConfig())
		fold(s, sc.records(), sc.end())
		want[sc.name] = summary(s)
	}
	for range 2 * rounds {
		rapid.Check(t, func(rt *rapid.T) {
			sc := rapid.SampledFrom(all).Draw(rt, "scenario")
			s := New(testConfig())
			fold(s, scrambled(rt, sc.records()), sc.end())
			if got := summary(s); got != want[sc.name] {
				rt.Fatalf("%s: another order ends in another state:\n%s\n%s", sc.name, want[sc.name], got)
			}
		})
	}
}

// rounds is how many times rapid.Check runs in the tests that draw from all
// scenarios.
const rounds = 4

func TestAnyOrderWithoutDedupe(t *testing.T) {
	t.Parallel()
	// Event ids are removed after 40 days: the fold must not depend on them.
	all := slices.Concat(versions()...)
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			sc := rapid.SampledFrom(all).Draw(rt, "scenario")
			want, s := New(testConfig()), New(testConfig())
			fold(want, sc.records(), sc.end())
			for _, rec := range scrambled(rt, sc.records()) {
				clear(s.facts.Seen)
				fold(s, []Record{rec}, t0)
			}
			s.Advance(sc.end())
			if a, b := summary(want), summary(s); a != b {
				rt.Fatalf("%s: a forgotten duplicate changes the state:\n%s\n%s", sc.name, a, b)
			}
		})
	}
}

// maxPermuted is the length up to which all orders of a scenario are tested.
const maxPermuted = 6

func TestAllPermutations(t *testing.T) {
	t.Parallel()
	for _, scs := range versions() {
		for i, sc := range scs {
			recs := sc.records()
			if n := len(recs); n > maxPermuted || n == maxPermuted && i+1 < len(scs) {
				continue // TestAnyOrderAnyDuplication draws some of them
			}
			t.Run(sc.name+"/"+shapes[i].version, func(t *testing.T) {
				want := ""
				permute(recs, len(recs), func(order []Record) {
					s := New(testConfig())
					fold(s, order, sc.end())
					switch got := summary(s); {
					case want == "":
						want = got
					case got != want:
						t.Fatalf("orders differ:\n%s\n%s", want, got)
					}
				})
			})
		}
	}
}

func permute(recs []Record, n int, visit func([]Record)) {
	if n == 1 {
		visit(slices.Clone(recs))
		return
	}
	for i := range n {
		permute(recs, n-1, visit)
		j := 0
		if n%2 == 0 {
			j = i
		}
		recs[j], recs[n-1] = recs[n-1], recs[j]
	}
}

func TestMappingInAnyOrder(t *testing.T) {
	t.Parallel()
	anonymous := newShop("cus_1", "")
	anonymous.create("sub_1", "price_pro", "active").invoice("invoice.paid", "sub_1", 2000, "subscription_create")
	sc := scenario{shops: []*shop{anonymous}}
	recs := append(sc.records(),
		Record{Kind: KindMap, Seq: 100, Time: t0, Map: Mapping{Customer: "other", StripeCustomer: "cus_1"}},
		Record{Kind: KindMap, Seq: 101, Time: t0, Map: Mapping{Customer: "acme", StripeCustomer: "cus_1"}})
	rapid.Check(t, func(rt *rapid.T) {
		s := New(testConfig())
		fold(s, scrambled(rt, slices.Clone(recs)), sc.end())
		if doc, _ := s.Subscription("acme"); doc.Plan != "pro" || paymentsOf(s, "acme") == "" {
			rt.Fatalf("mapped customer has %+v, payments %q", doc, paymentsOf(s, "acme"))
		}
		if doc, _ := s.Subscription("other"); doc.Plan == "pro" || paymentsOf(s, "other") != "" {
			rt.Fatalf("the one mapped before still has %+v, payments %q", doc, paymentsOf(s, "other"))
		}
		if len(unmapped(s)) != 0 {
			rt.Fatalf("unmapped: %v", unmapped(s))
		}
	})
}

func TestMappingsAreRemovedInAnyOrder(t *testing.T) {
	t.Parallel()
	anonymous := newShop("cus_1", "").create("sub_1", "price_pro", "active")
	other := newShop("cus_2", "").create("sub_2", "price_team", "active")
	sc := scenario{shops: []*shop{anonymous, other}}
	recs := append(sc.records(),
		Record{Kind: KindMap, Seq: 100, Time: t0, Map: Mapping{Customer: "acme", StripeCustomer: "cus_1"}},
		Record{Kind: KindMap, Seq: 101, Time: t0, Map: Mapping{Customer: "acme"}},
		Record{Kind: KindMap, Seq: 102, Time: t0, Map: Mapping{Customer: "acme", StripeCustomer: "cus_2"}})
	rapid.Check(t, func(rt *rapid.T) {
		s := New(testConfig())
		fold(s, scrambled(rt, slices.Clone(recs)), sc.end())
		if doc, _ := s.Subscription("acme"); doc.Plan != "team" || len(doc.Subscriptions) != 1 {
			rt.Fatalf("document %+v", doc)
		}
		if u := unmapped(s); len(u) != 1 || u[0].StripeCustomer != "cus_1" {
			rt.Fatalf("unmapped %+v", u)
		}
	})
}

func TestUnmappedIsKeptAndAppliedAtOnce(t *testing.T) {
	t.Parallel()
	anonymous := newShop("cus_1", "").customer("customer.created", "ada@acme.example")
	anonymous.create("sub_1", "price_pro", "active")
	sc := scenario{shops: []*shop{anonymous}}
	s := New(testConfig())
	if changes := fold(s, sc.records(), sc.end()); len(changes) != 0 {
		t.Fatalf("unmapped events changed %+v", changes)
	}
	if u := unmapped(s); len(u) != 1 || u[0].StripeCustomer != "cus_1" || u[0].Status != "active" || u[0].Email == "" {
		t.Fatalf("unmapped: %+v", u)
	}
	changes := s.Apply(Record{Kind: KindMap, Seq: 9, Time: t0, Map: Mapping{Customer: "acme", StripeCustomer: "cus_1"}})
	if len(changes) != 1 {
		t.Fatalf("changes %+v", changes)
	}
	a := changes[0].Account
	if a.Subscription == nil || a.Subscription.Plan != "pro" || !a.Subscription.Paid || a.Subscription.Position != 9 ||
		*a.Email != "ada@acme.example" || a.EmailSource != "stripe" || *a.StripeCustomer != "cus_1" {
		t.Errorf("account %+v", a)
	}
	if changes[0].Subscription == nil || changes[0].Subscription.Plan != "pro" {
		t.Errorf("document %+v", changes[0].Subscription)
	}
	changes = s.Apply(Record{Kind: KindMap, Seq: 10, Time: t0, Map: Mapping{Customer: "acme"}})
	if len(changes) != 1 || changes[0].Account.Subscription == nil || *changes[0].Account.Subscription != (records.PlanState{Position: 10}) ||
		*changes[0].Account.Email != "" || *changes[0].Account.StripeCustomer != "" || changes[0].Subscription.Plan != "free" {
		t.Errorf("taken back: %+v", changes)
	}
}

func TestStateSurvivesRestart(t *testing.T) {
	t.Parallel()
	all := slices.Concat(versions()...)
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			sc := rapid.SampledFrom(all).Draw(rt, "scenario")
			recs := scrambled(rt, append(sc.records(),
				Record{Kind: KindMap, Map: Mapping{Customer: "early", StripeCustomer: "cus_unheard_of"}},
				Record{Kind: KindMap, Map: Mapping{Customer: "other", StripeCustomer: "cus_1"}},
				Record{Kind: KindMap, Map: Mapping{Customer: "other"}},
				Record{Kind: KindMap, Map: Mapping{StripeCustomer: "cus_1"}}))
			live, committed := New(testConfig()), New(testConfig())
			var snapshot []byte
			var deltas [][]byte
			for i, rec := range recs {
				rec.Seq = uint64(i + 1)
				for _, s := range []*State{live, committed} {
					s.Apply(rec)
				}
				switch rapid.IntRange(0, 3).Draw(rt, "then") {
				case 0:
					d, err := committed.Delta(7)
					if err != nil {
						rt.Fatal(err)
					}
					deltas = append(deltas, d)
					committed = restore(rt, snapshot, deltas)
				case 1:
					if _, err := committed.Delta(7); err != nil {
						rt.Fatal(err)
					}
					var err error
					if snapshot, err = committed.Snapshot(7); err != nil {
						rt.Fatal(err)
					}
					deltas = nil
					committed = restore(rt, snapshot, nil)
				}
			}
			for _, s := range []*State{live, committed} {
				s.facts.Seq = 1000 // a record without effect moves it without a commit
				s.Advance(sc.end())
			}
			a, _ := live.Snapshot(0)
			b, _ := committed.Snapshot(0)
			if string(a) != string(b) || summary(live) != summary(committed) {
				rt.Fatalf("%s: a restart changes the state:\n%s\n%s", sc.name, summary(live), summary(committed))
			}
		})
	}
}

func restore(t *rapid.T, snapshot []byte, deltas [][]byte) *State {
	s, written, err := Restore(testConfig(), snapshot, deltas...)
	if err != nil || written != 7 && len(deltas) > 0 && deltas[len(deltas)-1] != nil {
		t.Fatal(written, err)
	}
	return s
}

// finalValues returns the states and payments that a consumer of all changes ends
// up with.
func finalValues(changes []Change) (states map[string]records.PlanState, payments map[string]records.Payment) {
	states, payments = map[string]records.PlanState{}, map[string]records.Payment{}
	for _, c := range changes {
		if c.Account == nil {
			continue
		}
		if c.Account.Subscription != nil {
			states[c.Customer] = *c.Account.Subscription
		}
		if p := c.Account.Payment; p != nil && p.Void {
			delete(payments, p.Key)
		} else if p != nil {
			payments[p.Key] = *p
		}
	}
	return states, payments
}

func TestEmittedChangesMatchTheState(t *testing.T) {
	t.Parallel()
	all := slices.Concat(versions()...)
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			sc := rapid.SampledFrom(all).Draw(rt, "scenario")
			s := New(testConfig())
			changes := fold(s, scrambled(rt, sc.records()), sc.end())
			states, payments := finalValues(changes)
			if got := states["acme"]; !sameState(got, s.facts.Customers["acme"].State) {
				rt.Fatalf("%s: emitted %+v, is %+v", sc.name, got, s.facts.Customers["acme"].State)
			}
			holds := s.Payments("acme")
			for _, p := range holds {
				if !samePayment(payments[p.Key], p) {
					rt.Fatalf("%s: emitted %+v, holds %+v", sc.name, payments[p.Key], p)
				}
			}
			if len(payments) != len(holds) {
				rt.Fatalf("%s: emitted %v, holds %v", sc.name, payments, holds)
			}
		})
	}
}

func TestManyEventsAreRestored(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	for i := range 200_000 {
		s.facts.Seen[fmt.Sprint("evt_", i)] = s.facts.SeenDay
	}
	b, err := s.Snapshot(0)
	if err != nil {
		t.Fatal(err)
	}
	if s, _, err = Restore(testConfig(), b); err != nil || len(s.facts.Seen) != 200_000 {
		t.Fatalf("%d ids, %v", len(s.facts.Seen), err)
	}
}

func TestDuplicatesAreForgottenAfter40Days(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	rec := Record{Kind: KindStripe, Seq: 1, Time: t0, Event: Envelope{ID: "evt_1"}}
	fold(s, []Record{rec}, t0)
	next := Record{Kind: KindStripe, Seq: 2, Time: t0.AddDate(0, 0, seenDays), Event: Envelope{ID: "evt_2"}}
	fold(s, []Record{next}, t0)
	if len(s.facts.Seen) != 2 {
		t.Fatalf("seen %v", s.facts.Seen)
	}
	next.Event.ID, next.Time = "evt_3", t0.AddDate(0, 0, seenDays+1)
	fold(s, []Record{next}, t0)
	if _, ok := s.facts.Seen["evt_1"]; ok || len(s.facts.Seen) != 2 {
		t.Fatalf("seen %v", s.facts.Seen)
	}
}

func BenchmarkApply(b *testing.B) {
	s := New(testConfig())
	var recs []Record
	for i := range b.N/5 + 1 {
		id := fmt.Sprint("c", i)
		sh := newShop("cus_"+id, id).customer("customer.created", "ada@acme.example").buy("sub_"+id, "price_pro")
		recs = append(recs, (&scenario{shops: []*shop{sh}}).records()...)
	}
	b.ResetTimer()
	for i, rec := range recs[:b.N] {
		rec.Seq = uint64(i + 1)
		s.Apply(rec)
	}
}
