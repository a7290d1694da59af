package storetest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

func notificationIsInsertedOnce(t *testing.T, s store.Store) {
	ctx, insert := t.Context(), got[bool](t)
	want := notification("acme", 1, day(1))
	if !insert(s.InsertNotification(ctx, want)) {
		t.Fatal("the first insert did not insert")
	}
	again := want
	again.Subject = "another"
	if insert(s.InsertNotification(ctx, again)) {
		t.Error("the second insert inserted")
	}
	n, ok, err := s.Notification(ctx, want.Key)
	must(t, err)
	if !ok {
		t.Fatal("not there")
	}
	same(t, "notification", n, want)
	if _, ok, err := s.Notification(ctx, "another"); ok || err != nil {
		t.Errorf("another: %v, %v", ok, err)
	}
}

func racingInserts(t *testing.T, s store.Store) {
	const racers, keys = 8, 12
	ctx := t.Context()
	var wg sync.WaitGroup
	var inserted [keys]atomic.Int32
	for range racers {
		wg.Go(func() {
			for k := range keys {
				ok, err := s.InsertNotification(ctx, notification("acme", k, day(1)))
				if err != nil {
					t.Error(err)
				}
				if ok {
					inserted[k].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		if n := inserted[k].Load(); n != 1 {
			t.Errorf("key %d was inserted %d times", k, n)
		}
	}
	if n := len(got[[]records.Notification](t)(s.NotificationsOf(ctx, "acme"))); n != keys {
		t.Errorf("%d notifications, want %d", n, keys)
	}
}

func notificationsAreReplaced(t *testing.T, s store.Store) {
	ctx := t.Context()
	n := notification("acme", 1, day(1))
	if err := s.UpdateNotification(ctx, n); err == nil {
		t.Error("updated what is not there")
	}
	if _, ok, err := s.Notification(ctx, n.Key); ok || err != nil {
		t.Errorf("the refused update left something: %v, %v", ok, err)
	}
	got[bool](t)(s.InsertNotification(ctx, n))
	n.State, n.Body, n.Attempts, n.ProviderID = records.MailDelivered, nil, 3, "re_1"
	n.Error, n.To, n.FirstTryAt, n.NextAt = "slow", "", new(day(1)), new(day(2))
	n.SentAt, n.DeliveredAt, n.ClickedAt = new(day(2)), new(day(3)), new(day(4))
	for range 2 { // repeats change nothing
		must(t, s.UpdateNotification(ctx, n))
		found, ok, err := s.Notification(ctx, n.Key)
		must(t, err)
		if !ok {
			t.Fatal("not there")
		}
		same(t, "notification", found, n)
	}
}

func dueNotifications(t *testing.T, s store.Store) {
	ctx, now := t.Context(), day(10)
	var all []records.Notification
	for i, c := range []struct {
		state   records.MailState
		reached int
		next    *time.Time
	}{
		{records.MailPending, 3, nil},
		{records.MailPending, 1, new(now)},
		{records.MailPending, 2, new(now.Add(-time.Hour))},
		{records.MailPending, 1, new(now.Add(time.Millisecond))},
		{records.MailWaiting, 1, nil},
		{records.MailSent, 1, new(now)},
		{records.MailParked, 1, nil},
		{records.MailPending, 2, nil}, // two of the same moment: ordered by key
		{records.MailWaiting, 4, new(now)},
		{records.MailWaiting, 4, new(now.Add(time.Hour))},
	} {
		n := notification("acme", i, day(c.reached))
		n.State, n.NextAt = c.state, c.next
		all = append(all, n)
		if !got[bool](t)(s.InsertNotification(ctx, n)) {
			t.Fatal("not inserted")
		}
	}
	check := func(what string, now time.Time, limit int, want ...int) {
		t.Helper()
		var expected []records.Notification
		for _, i := range want {
			expected = append(expected, all[i])
		}
		same(t, what, got[[]records.Notification](t)(s.DueNotifications(ctx, now, limit)), expected)
	}
	check("due", now, 0, 1, 2, 7, 0, 8)
	check("the first two", now, 2, 1, 2)
	check("a millisecond later", now.Add(time.Millisecond), 0, 1, 3, 2, 7, 0, 8)

	update := func(i int, state records.MailState, next *time.Time) {
		t.Helper()
		all[i].State, all[i].NextAt = state, next
		must(t, s.UpdateNotification(ctx, all[i]))
	}
	update(1, records.MailSent, nil)
	update(2, records.MailPending, new(now.Add(time.Hour)))
	update(4, records.MailPending, nil)
	check("after changes", now, 0, 4, 7, 0, 8)
	update(2, records.MailPending, nil)
	update(4, records.MailCancelled, nil)
	update(8, records.MailWaiting, nil)
	update(9, records.MailWaiting, new(now))
	check("after more changes", now, 0, 2, 7, 0, 9)
}

func notificationsAreFound(t *testing.T, s store.Store) {
	ctx, list := t.Context(), got[[]records.Notification](t)
	var acme, all []records.Notification
	for i := range 4 {
		a, b := notification("acme", i, day(10-i)), notification("acme.b", i, day(10-i).Add(time.Hour))
		acme, all = append(acme, a), append(all, a, b)
	}
	for _, n := range all {
		got[bool](t)(s.InsertNotification(ctx, n))
	}
	byTime := func(a, b records.Notification) int { return a.ReachedAt.Compare(b.ReachedAt) }
	slices.SortFunc(acme, byTime)
	slices.SortFunc(all, byTime)
	for i := range all {
		all[i].Body = nil // without bodies
	}
	same(t, "acme's", list(s.NotificationsOf(ctx, "acme")), acme)
	same(t, "nobody's", list(s.NotificationsOf(ctx, "nobody")), nil)
	same(t, "all", list(s.NotificationsBetween(ctx, time.Time{}, time.Time{})), all)
	same(t, "from", list(s.NotificationsBetween(ctx, day(8), time.Time{})), all[2:])
	same(t, "to", list(s.NotificationsBetween(ctx, time.Time{}, day(8))), all[:2])
	same(t, "between", list(s.NotificationsBetween(ctx, day(8), day(9))), all[2:4])
	same(t, "in no time", list(s.NotificationsBetween(ctx, day(8), day(8))), nil)
}

func conversions(t *testing.T, s store.Store) {
	ctx, list := t.Context(), got[[]records.Conversion](t)
	all := []records.Conversion{conversion("b", 1, day(1)), conversion("a", 2, day(2)), conversion("a", 1, day(3)), conversion("b", 2, day(3))}
	all[1].LimitReachedAt, all[1].MailedAt, all[1].ClickedAt = nil, nil, new(day(1))
	for _, c := range slices.Backward(all) {
		must(t, s.WriteConversion(ctx, c))
	}
	for range 2 {
		same(t, "all", list(s.Conversions(ctx, time.Time{}, time.Time{})), all)
		same(t, "between", list(s.Conversions(ctx, day(2), day(3))), all[1:2])
		same(t, "from", list(s.Conversions(ctx, day(2), time.Time{})), all[1:])
		same(t, "to", list(s.Conversions(ctx, time.Time{}, day(3))), all[:2])
		same(t, "a's", list(s.ConversionsOf(ctx, "a")), all[1:3])
		same(t, "nobody's", list(s.ConversionsOf(ctx, "nobody")), nil)
		all[2].ClickedAt, all[2].Amount = new(day(3)), 4000 // replaced in the second round
		must(t, s.WriteConversion(ctx, all[2]))
	}
	for range 2 { // repeats change nothing
		must(t, s.DeleteConversion(ctx, all[1].Key))
		same(t, "the others", list(s.Conversions(ctx, time.Time{}, time.Time{})), []records.Conversion{all[0], all[2], all[3]})
		same(t, "a's other", list(s.ConversionsOf(ctx, "a")), all[2:3])
	}
	must(t, s.WriteConversion(ctx, all[1]))
	same(t, "all again", list(s.ConversionsOf(ctx, "a")), all[1:3])
}
