// Package storetest has the tests that every implementation of store.Store must pass.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

// Run checks the contract of store.Store. Each call of open must return a store without
// documents.
func Run(t *testing.T, open func(t testing.TB) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"usage comes back":                   usageComesBack,
		"usage is listed":                    usageIsListed,
		"usage never goes back":              usageNeverGoesBack,
		"a batch may repeat a window":        batchMayRepeatAWindow,
		"a batch may be large":               batchMayBeLarge,
		"walking usage stops":                walkingUsageStops,
		"customers":                          customers,
		"subscriptions":                      subscriptions,
		"accounts never go back":             accountsNeverGoBack,
		"ids of any kind":                    idsOfAnyKind,
		"a notification is inserted once":    notificationIsInsertedOnce,
		"racing inserts":                     racingInserts,
		"notifications are replaced":         notificationsAreReplaced,
		"due notifications":                  dueNotifications,
		"notifications are found":            notificationsAreFound,
		"conversions":                        conversions,
		"what can never be stored":           neverStored,
		"an empty id":                        emptyID,
		"an ended context ends every method": endedContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// RunRacing checks conditional writes with several writers of one document.
func RunRacing(t *testing.T, open func(t testing.TB) store.Store) {
	t.Run("racing writers of a window", func(t *testing.T) {
		t.Parallel()
		racingWindows(t, open(t))
	})
	t.Run("racing writers of a customer", func(t *testing.T) {
		t.Parallel()
		racingCustomers(t, open(t))
	})
}

// day returns midnight of a day in January 2026, UTC.
func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func value(t testing.TB, s string) events.Value {
	t.Helper()
	v, err := events.ParseValue(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got fails the test on an error, and returns the other value.
func got[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// same compares documents by their JSON.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := text(t, got), text(t, want); g != w {
		t.Errorf("%s\n got %s\nwant %s", what, g, w)
	}
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	if string(b) == "null" { // no document, as a nil slice or map
		return "[]"
	}
	return string(b)
}

func window(customer, feature string, start time.Time, epoch, seq uint64) records.Window {
	return records.Window{
		Customer: customer, Feature: feature, Plan: "free", Start: start, End: start.AddDate(0, 0, 30), Current: true,
		Used: events.Count(int64(seq)), Limit: events.Some(events.Count(100)), Events: int64(seq),
		FirstAt: start, LastAt: start.Add(time.Hour), Partition: 3, Epoch: epoch, Seq: seq,
	}
}

// fullWindows returns windows with all fields in all their forms.
func fullWindows(t testing.TB) []records.Window {
	counted := window("acme", "api", day(1).Add(1500*time.Millisecond), 4, 17)
	summed := window("acme", "tokens", day(2), 1, math.MaxInt64)
	summed.Used, summed.Limit, summed.Current = value(t, "812.000000001"), events.Some(value(t, "1000.5")), false
	paid := window("acme", "unlimited", day(2), 1, 2)
	paid.Used, paid.Limit = events.Count(math.MaxInt64), events.NullValue{}
	rolling := records.Window{
		Customer: "acme", Feature: "rolling", Plan: "free", Current: true, Used: value(t, "-0.5"),
		Limit: events.Some(events.Count(0)), Epoch: 2, Seq: 3,
		Buckets: []gate.Bucket{{Start: day(3), Used: events.Count(5)}, {Start: day(3).Add(time.Hour), Used: value(t, "0.25")}},
	}
	return []records.Window{counted, rolling, summed, paid}
}

func fullCustomer(t testing.TB, id string) records.Customer {
	return records.Customer{
		ID: id, Email: "ada@acme.example", StripeEmail: "pay@acme.example", Locale: "de-CH", StripeCustomer: "cus_1",
		Plan: "free", PinnedPlan: "pro", Anchor: new(day(5)),
		Overrides: map[string]gate.Override{
			"api":            {Limit: new(events.Count(500)), Until: new(day(9)), Reason: "a friend", At: new(day(6))},
			"reports.export": {Grant: new(value(t, "2.5"))},
			"$100%":          {Limit: new(events.Count(1))},
		},
		Suppressed: "bounced", Position: 7, UpdatedAt: day(6).Add(time.Millisecond),
	}
}

func fullSubscription(customer string) records.Subscription {
	return records.Subscription{
		Customer: customer, Plan: "pro", Status: "active", StripeCustomer: "cus_1",
		Subscriptions: []records.StripeSubscription{
			{ID: "sub_1", Status: "active", Prices: []string{"price_1", "price_2"}, Plan: "pro", CurrentPeriodEnd: new(day(30))},
			{ID: "sub_2", Status: "canceled", Prices: []string{"price_3"}, CancelAt: new(day(2))},
		},
		CurrentPeriodEnd: new(day(30)), CancelAt: new(day(29)), GraceUntil: new(day(31)),
		History: []records.PlanChange{
			{Plan: "free", Status: "", Event: "evt_1", At: day(1)}, {Plan: "pro", Status: "active", Event: "evt_2", At: day(2)},
		},
		Position: 11,
	}
}

func notification(customer string, n int, reached time.Time) records.Notification {
	return records.Notification{
		Key: fmt.Sprintf("%s/api/%d", customer, n), Customer: customer, Feature: "api", Kind: records.LimitKindReached,
		Percent: 100, Plan: "free", Limit: events.Count(100), WindowStart: day(1), WindowEnd: day(31), ReachedAt: reached,
		State: records.MailPending, To: "ada@acme.example", Subject: "You've reached your limit", Body: []byte("{\"exact\":\"bytes\"}\x00\xff"),
	}
}

func conversion(customer string, n int, at time.Time) records.Conversion {
	return records.Conversion{
		Key: fmt.Sprintf("%s/%d", customer, n), Kind: records.MoveReactivation, Customer: customer, FromPlan: "free", ToPlan: "pro", StripeEvent: "evt_1",
		Amount: 2000, Currency: "usd", Feature: "api", LimitReachedAt: new(day(1)), MailedAt: new(day(2)), ConvertedAt: at,
	}
}

// endedContext checks that methods return when their context has ended.
func endedContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"WriteUsage":         func() error { return s.WriteUsage(ctx, []records.Window{window("a", "api", day(1), 1, 1)}) },
		"Usage":              func() error { _, err := s.Usage(ctx, "a"); return err },
		"UsageAfter":         func() error { _, err := s.UsageAfter(ctx, "", 1); return err },
		"AllUsage":           func() error { return s.AllUsage(ctx, func(records.Window) error { return nil }) },
		"WriteCustomers":     func() error { return s.WriteCustomers(ctx, []records.Customer{{ID: "a"}}) },
		"Customer":           func() error { _, _, err := s.Customer(ctx, "a"); return err },
		"WriteSubscriptions": func() error { return s.WriteSubscriptions(ctx, []records.Subscription{{Customer: "a"}}) },
		"InsertNotification": func() error { _, err := s.InsertNotification(ctx, notification("a", 1, day(1))); return err },
		"UpdateNotification": func() error { return s.UpdateNotification(ctx, notification("a", 1, day(1))) },
		"DueNotifications":   func() error { _, err := s.DueNotifications(ctx, day(1), 1); return err },
		"WriteConversion":    func() error { return s.WriteConversion(ctx, conversion("a", 1, day(1))) },
		"DeleteConversion":   func() error { return s.DeleteConversion(ctx, "a") },
		"Conversions":        func() error { _, err := s.Conversions(ctx, day(1), day(2)); return err },
		"Ping":               func() error { return s.Ping(ctx) },
	} {
		if call() == nil {
			t.Errorf("%s succeeds with an ended context", name)
		}
	}
	must(t, s.Ping(t.Context()))
}
