package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

// refuses fails the test unless err says that just the documents with these ids can
// never be stored.
func refuses(t testing.TB, what string, err error, ids ...string) {
	t.Helper()
	var refused *store.RefusedError
	if !errors.As(err, &refused) || len(refused.Documents) != len(ids) {
		t.Fatalf("%s: %v, want a refusal of %q", what, err, ids)
	}
	for i, id := range ids {
		if d := refused.Documents[i]; d.ID != id || d.Why == nil {
			t.Errorf("%s: %q is refused because of %v, want %q", what, d.ID, d.Why, id)
		}
	}
}

// neverStored checks that a document which is larger than any store's own bound is
// refused by name, and that the others of a write are stored.
func neverStored(t *testing.T, s store.Store) {
	ctx, huge := t.Context(), strings.Repeat("x", 17<<20)
	windows := []records.Window{window("a", "api", day(1), 1, 1), window("b", "api", day(1), 1, 1), window("c", "api", day(1), 1, 1)}
	windows[1].Plan = huge
	for range 2 { // new documents, and stored ones
		refuses(t, "usage", s.WriteUsage(ctx, windows), windows[1].ID())
		same(t, "usage", list(s.UsageAfter(ctx, "", 0)), []records.Window{windows[0], windows[2]})
	}
	customers := []records.Customer{fullCustomer(t, "a"), fullCustomer(t, "b"), fullCustomer(t, "c")}
	customers[0].Locale = huge
	refuses(t, "customers", s.WriteCustomers(ctx, customers), "a")
	same(t, "customers", list(s.Customers(ctx, "", 0)), customers[1:])
	subscriptions := []records.Subscription{fullSubscription("a"), fullSubscription("b")}
	subscriptions[1].Status = huge
	refuses(t, "subscriptions", s.WriteSubscriptions(ctx, subscriptions), "b")
	if _, ok, err := s.Subscription(ctx, "a"); !ok || err != nil {
		t.Errorf("the other subscription: %v, %v", ok, err)
	}

	n := notification("a", 1, day(1))
	if inserted, err := s.InsertNotification(ctx, n); !inserted || err != nil {
		t.Fatalf("inserted %v, %v", inserted, err)
	}
	large := n
	large.Body = []byte(huge)
	refuses(t, "update", s.UpdateNotification(ctx, large), n.Key)
	same(t, "notification", list(s.NotificationsOf(ctx, "a")), []records.Notification{n})
	large.Key += "/large"
	_, err := s.InsertNotification(ctx, large)
	refuses(t, "insert", err, large.Key)
	c := conversion("a", 1, day(1))
	c.Currency = huge
	refuses(t, "conversion", s.WriteConversion(ctx, c), c.Key)
	same(t, "conversions", list(s.ConversionsOf(ctx, "a")), nil)
}

// emptyID checks that documents without an id are refused, and that nothing is found
// under it.
func emptyID(t *testing.T, s store.Store) {
	ctx := t.Context()
	refuses(t, "customer", s.WriteCustomers(ctx, []records.Customer{{}}), "")
	refuses(t, "subscription", s.WriteSubscriptions(ctx, []records.Subscription{{}}), "")
	_, err := s.InsertNotification(ctx, records.Notification{Customer: "a", ReachedAt: day(1)})
	refuses(t, "notification", err, "")
	refuses(t, "conversion", s.WriteConversion(ctx, records.Conversion{Customer: "a", ConvertedAt: day(1)}), "")
	must(t, s.DeleteConversion(ctx, ""))
	for name, find := range map[string]func() (bool, error){
		"customer":      func() (bool, error) { _, ok, err := s.Customer(ctx, ""); return ok, err },
		"subscription":  func() (bool, error) { _, ok, err := s.Subscription(ctx, ""); return ok, err },
		"notification":  func() (bool, error) { _, ok, err := s.Notification(ctx, ""); return ok, err },
		"usage":         func() (bool, error) { all, err := s.Usage(ctx, ""); return len(all) > 0, err },
		"notifications": func() (bool, error) { all, err := s.NotificationsOf(ctx, ""); return len(all) > 0, err },
		"conversions":   func() (bool, error) { all, err := s.ConversionsOf(ctx, ""); return len(all) > 0, err },
		"due":           func() (bool, error) { all, err := s.DueNotifications(ctx, day(9), 0); return len(all) > 0, err },
		"all": func() (bool, error) {
			all, err := s.Conversions(ctx, time.Time{}, time.Time{})
			return len(all) > 0, err
		},
	} {
		if found, err := find(); found || err != nil {
			t.Errorf("%s: found %v, %v", name, found, err)
		}
	}
}

// list returns what a store found. An error is shown as a difference.
func list[T any](found []T, err error) any {
	if err != nil {
		return err.Error()
	}
	return found
}
