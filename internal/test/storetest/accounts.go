package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

func customers(t *testing.T, s store.Store) {
	ctx := t.Context()
	if _, ok, err := s.Customer(ctx, "nobody"); ok || err != nil {
		t.Fatalf("nobody: %v, %v", ok, err)
	}
	all := []records.Customer{{ID: "a b"}, fullCustomer(t, "acme"), {ID: "b/c", Plan: "free"}, {ID: "z"}}
	must(t, s.WriteCustomers(ctx, []records.Customer{all[3], all[1], all[0], all[2]}))
	must(t, s.WriteCustomers(ctx, nil))
	for _, want := range all {
		c, ok, err := s.Customer(ctx, want.ID)
		must(t, err)
		if !ok {
			t.Fatalf("%s is not there", want.ID)
		}
		c.Overrides = emptyToNil(c.Overrides)
		same(t, want.ID, c, want)
	}
	list := func(after string, limit int) (ids []string) {
		for _, c := range got[[]records.Customer](t)(s.Customers(ctx, after, limit)) {
			ids = append(ids, c.ID)
		}
		return ids
	}
	same(t, "all", list("", 0), []string{"a b", "acme", "b/c", "z"})
	same(t, "first page", list("", 3), []string{"a b", "acme", "b/c"})
	same(t, "second page", list("b/c", 3), []string{"z"})
	same(t, "after the last", list("z", 3), nil)
}

func emptyToNil(m map[string]gate.Override) map[string]gate.Override {
	if len(m) == 0 {
		return nil
	}
	return m
}

func subscriptions(t *testing.T, s store.Store) {
	ctx := t.Context()
	if _, ok, err := s.Subscription(ctx, "nobody"); ok || err != nil {
		t.Fatalf("nobody: %v, %v", ok, err)
	}
	for _, want := range []records.Subscription{fullSubscription("acme"), {
		Customer: "bare", Subscriptions: []records.StripeSubscription{{ID: "sub_3", Prices: []string{"p"}}}, History: []records.PlanChange{{At: day(1)}},
	}} {
		must(t, s.WriteSubscriptions(ctx, []records.Subscription{want}))
		sub, ok, err := s.Subscription(ctx, want.Customer)
		must(t, err)
		if !ok {
			t.Fatalf("%s is not there", want.Customer)
		}
		same(t, want.Customer, sub, want)
	}
	must(t, s.WriteSubscriptions(ctx, nil))
}

// accountsNeverGoBack is usageNeverGoesBack for documents with a Position.
func accountsNeverGoBack(t *testing.T, s store.Store) {
	ctx, round := t.Context(), 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		id := fmt.Sprintf("c%d", round)
		positions := rapid.SliceOfN(rapid.Uint64Range(1, 4), 1, 6).Draw(rt, "positions")
		newest, position := 0, uint64(0)
		for i, p := range positions {
			plan := fmt.Sprint(i)
			if err := s.WriteCustomers(ctx, []records.Customer{{ID: id, Plan: plan, Position: p}}); err != nil {
				rt.Fatal(err)
			}
			if err := s.WriteSubscriptions(ctx, []records.Subscription{{Customer: id, Plan: plan, Position: p}}); err != nil {
				rt.Fatal(err)
			}
			if p >= position {
				newest, position = i, p
			}
		}
		c, _, err := s.Customer(ctx, id)
		if err != nil || c.Position != position || c.Plan != fmt.Sprint(newest) {
			rt.Fatalf("customer: plan %s at %d, want %d at %d, %v", c.Plan, c.Position, newest, position, err)
		}
		sub, _, err := s.Subscription(ctx, id)
		if err != nil || sub.Position != position || sub.Plan != fmt.Sprint(newest) {
			rt.Fatalf("subscription: plan %s at %d, want %d at %d, %v", sub.Plan, sub.Position, newest, position, err)
		}
	})
}

// idsOfAnyKind checks ids with all kinds of characters, because apps choose them.
func idsOfAnyKind(t *testing.T, s store.Store) {
	ctx := t.Context()
	ids := []string{"a.b", "a*b", ">", "*", "a=40b", "a@b.c", "$where", "Ä", "日本", "a/b/c", "a b", "_gates", "~batch"}
	for i, id := range ids {
		must(t, s.WriteUsage(ctx, []records.Window{window(id, "api.v1/x", day(1), 1, uint64(i+1))}))
		must(t, s.WriteCustomers(ctx, []records.Customer{{ID: id, Position: uint64(i + 1)}}))
		must(t, s.WriteSubscriptions(ctx, []records.Subscription{{Customer: id, Position: uint64(i + 1)}}))
		if inserted := got[bool](t)(s.InsertNotification(ctx, notification(id, 1, day(1)))); !inserted {
			t.Errorf("%q: notification not inserted", id)
		}
		must(t, s.WriteConversion(ctx, conversion(id, 1, day(1))))
	}
	for i, id := range ids {
		same(t, id, got[[]records.Window](t)(s.Usage(ctx, id)), []records.Window{window(id, "api.v1/x", day(1), 1, uint64(i+1))})
		if c, ok, err := s.Customer(ctx, id); err != nil || !ok || c.Position != uint64(i+1) {
			t.Errorf("%q: customer %+v, %v, %v", id, c, ok, err)
		}
		if sub, ok, err := s.Subscription(ctx, id); err != nil || !ok || sub.Position != uint64(i+1) {
			t.Errorf("%q: subscription %+v, %v, %v", id, sub, ok, err)
		}
		same(t, id, got[[]records.Notification](t)(s.NotificationsOf(ctx, id)), []records.Notification{notification(id, 1, day(1))})
		same(t, id, got[[]records.Conversion](t)(s.ConversionsOf(ctx, id)), []records.Conversion{conversion(id, 1, day(1))})
	}
}

func racingCustomers(t *testing.T, s store.Store) {
	const writers, each = 4, 25
	ctx := t.Context()
	positions := rand.New(rand.NewPCG(3, 4)).Perm(writers * each)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for _, p := range positions[i*each : (i+1)*each] {
				if err := s.WriteCustomers(ctx, []records.Customer{{ID: "acme", Position: uint64(p + 1)}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if c, _, err := s.Customer(ctx, "acme"); err != nil || c.Position != writers*each {
		t.Errorf("position %d, want %d, %v", c.Position, writers*each, err)
	}
}
