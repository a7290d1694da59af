package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
	"github.com/tidegate-io/tidegate/internal/test/storetest"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, js jetstream.JetStream, names events.Names) *Store {
	t.Helper()
	s, err := Open(t.Context(), js, names, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fresh(t testing.TB) store.Store {
	return open(t, testnats.Start(t).JetStream(t), events.Names{})
}

func TestStore(t *testing.T) {
	storetest.Run(t, fresh)
	storetest.RunRacing(t, fresh)
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	a, b := open(t, js, events.Names{}), open(t, js, events.Names{Namespace: "b"})
	if err := a.WriteCustomers(t.Context(), []records.Customer{{ID: "acme"}}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.Customer(t.Context(), "acme"); ok || err != nil {
		t.Errorf("namespace b knows acme: %v, %v", ok, err)
	}
	if _, err := js.KeyValue(t.Context(), "b_store_customers"); err != nil {
		t.Error(err)
	}
}

func TestStoreOutlivesTheServer(t *testing.T) {
	t.Parallel()
	srv := testnats.Start(t)
	js := srv.JetStream(t)
	s := open(t, js, events.Names{})
	if err := s.WriteCustomers(t.Context(), []records.Customer{{ID: "acme", Email: "ada@acme.example"}}); err != nil {
		t.Fatal(err)
	}
	srv.Stop()
	for name, call := range map[string]func(context.Context) error{
		"ping":  s.Ping,
		"write": func(ctx context.Context) error { return s.WriteCustomers(ctx, []records.Customer{{ID: "b"}}) },
		"list":  func(ctx context.Context) error { _, err := s.Usage(ctx, "acme"); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s without a server took %v of its 200 ms", name, took)
		}
		if err == nil || !strings.Contains(err.Error(), "check that the NATS server runs") {
			t.Errorf("%s without a server: %v", name, err)
		}
		cancel()
	}
	srv.Restart(t)
	var err error
	for t.Context().Err() == nil { // the connection reconnects by itself
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err = s.Ping(ctx)
		cancel()
		if err == nil {
			break
		}
	}
	s = open(t, js, events.Names{}) // as a new process does
	c, ok, err := s.Customer(t.Context(), "acme")
	if err != nil || !ok || c.Email != "ada@acme.example" {
		t.Errorf("after the restart: %+v, %v, %v", c, ok, err)
	}
}

// TestIndexEntriesAlone: a crash between index and document leaves entries without
// effect.
func TestIndexEntriesAlone(t *testing.T) {
	t.Parallel()
	s := open(t, testnats.Start(t).JetStream(t), events.Names{})
	ctx := t.Context()
	n := records.Notification{Key: "k", Customer: "acme", State: records.MailPending}
	if err := s.notifications.put(ctx, ofKey("acme", "k"), "", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.indexDue(ctx, &n); err != nil {
		t.Fatal(err)
	}
	if err := s.conversions.put(ctx, ofKey("acme", "k"), "", nil); err != nil {
		t.Fatal(err)
	}
	if found, err := s.NotificationsOf(ctx, "acme"); len(found) != 0 || err != nil {
		t.Errorf("notifications %v, %v", found, err)
	}
	if found, err := s.DueNotifications(ctx, time.Now(), 1); len(found) != 0 || err != nil {
		t.Errorf("due %v, %v", found, err)
	}
	if found, err := s.ConversionsOf(ctx, "acme"); len(found) != 0 || err != nil {
		t.Errorf("conversions %v, %v", found, err)
	}
	if inserted, err := s.InsertNotification(ctx, n); !inserted || err != nil {
		t.Errorf("the insert that was cut short is not repeatable: %v, %v", inserted, err)
	}
}

// TestSentMailsLeaveTheIndex: an outbox with a million sent mails must not read them
// all.
func TestSentMailsLeaveTheIndex(t *testing.T) {
	t.Parallel()
	s := open(t, testnats.Start(t).JetStream(t), events.Names{})
	ctx := t.Context()
	n := records.Notification{Key: "k", Customer: "acme", State: records.MailPending}
	if _, err := s.InsertNotification(ctx, n); err != nil {
		t.Fatal(err)
	}
	n.State = records.MailSent
	if err := s.UpdateNotification(ctx, n); err != nil {
		t.Fatal(err)
	}
	info, err := s.notifications.stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	for subject := range info.State.Subjects {
		if strings.Contains(subject, ".due.") {
			t.Errorf("%s is still there", subject)
		}
	}
}

func TestErrorNamesTheKeyOfABrokenDocument(t *testing.T) {
	t.Parallel()
	s := open(t, testnats.Start(t).JetStream(t), events.Names{})
	ctx := t.Context()
	if _, err := s.usage.kv.PutString(ctx, "acme.api.rolling", "no document"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Usage(ctx, "acme"); err == nil || !strings.Contains(err.Error(), "store_usage: key acme.api.rolling") {
		t.Errorf("Usage: %v", err)
	}
	// No other write would ever succeed, so it is older than every document.
	if err := s.WriteUsage(ctx, []records.Window{{Customer: "acme", Feature: "api"}}); err != nil {
		t.Error(err)
	}
	if all, err := s.Usage(ctx, "acme"); err != nil || len(all) != 1 {
		t.Errorf("after a write: %v, %v", all, err)
	}
}

// TestWhatABucketCannotHold: JSON has no year of five digits, a message has a bound, and
// a subject too.
func TestWhatABucketCannotHold(t *testing.T) {
	t.Parallel()
	s := open(t, testnats.Start(t).JetStream(t), events.Names{})
	late := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	long := strings.Repeat("ü", 2000)
	err := s.WriteCustomers(t.Context(), []records.Customer{{ID: "good"}, {ID: "late", Anchor: &late}, {ID: "large", Locale: strings.Repeat("x", 1<<20)}, {ID: long}})
	var refused *store.RefusedError
	if !errors.As(err, &refused) || len(refused.Documents) != 3 {
		t.Fatalf("got %v", err)
	}
	if _, ok, err := s.Customer(t.Context(), "good"); !ok || err != nil {
		t.Errorf("the good one is not there: %v", err)
	}
	if _, ok, err := s.Customer(t.Context(), long); ok || err != nil {
		t.Errorf("a customer that cannot be: %v, %v", ok, err)
	}
}

// TestEarlyEndOfALongListing: there are more documents than the watch's channel
// holds, so its callback is blocked when the listing ends.
func TestEarlyEndOfALongListing(t *testing.T) {
	t.Parallel()
	s := open(t, testnats.Start(t).JetStream(t), events.Names{})
	var all []records.Window
	for i := range 2000 {
		all = append(all, records.Window{Customer: fmt.Sprint(i), Feature: "api"})
	}
	if err := s.WriteUsage(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	enough, calls := errors.New("enough"), 0
	err := s.AllUsage(t.Context(), func(records.Window) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.AllUsage(ctx, func(records.Window) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a walk whose context ended: %v", err)
	}
	calls = 0
	if err := s.AllUsage(t.Context(), func(records.Window) error { calls++; return nil }); err != nil || calls != len(all) {
		t.Errorf("%d of %d windows, %v", calls, len(all), err)
	}
}
