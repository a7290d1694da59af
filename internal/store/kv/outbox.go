package kv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

// Keys of notifications and conversions: of documents, of the index by customer,
// and of the index of mails that become due.
func docKey(key string) string { return "doc." + events.Token(key) }
func ofKey(customer, key string) string {
	return "of." + events.Token(customer) + "." + events.Token(key)
}
func dueKey(key string) string                  { return "due." + events.Token(key) }
func tokenOf(key string) (docKey string)        { return "doc." + key[strings.LastIndexByte(key, '.')+1:] }
func isDue(next *time.Time, now time.Time) bool { return next == nil || !next.After(now) }

// indexed reports whether the mail is in the index of mails that become due.
func indexed(n *records.Notification) bool {
	return n.State == records.MailPending || n.State == records.MailWaiting && n.NextAt != nil
}

// due is an entry of the index of mails that become due.
type due struct {
	NextAt    *time.Time `json:"next_at"`
	ReachedAt time.Time  `json:"reached_at"`

	key string // of the document
}

// InsertNotification implements store.Store.
func (s *Store) InsertNotification(ctx context.Context, n records.Notification) (inserted bool, err error) {
	b := s.notifications
	// A repeated insert must not change the index entries of the first one.
	var there records.Notification
	if ok, err := b.get(ctx, docKey(n.Key), &there); ok || err != nil {
		return false, err
	}
	if err := b.put(ctx, ofKey(n.Customer, n.Key), n.Key, nil); err != nil {
		return false, err
	}
	if err := s.indexDue(ctx, &n); err != nil {
		return false, err
	}
	inserted, err = b.create(ctx, docKey(n.Key), n.Key, &n)
	if store.IsRefused(err) { // it will never become due
		err = errors.Join(err, b.remove(ctx, dueKey(n.Key)))
	}
	return inserted, err
}

func (s *Store) indexDue(ctx context.Context, n *records.Notification) error {
	if !indexed(n) {
		return nil
	}
	return s.notifications.put(ctx, dueKey(n.Key), n.Key, due{NextAt: n.NextAt, ReachedAt: n.ReachedAt})
}

// UpdateNotification implements store.Store.
func (s *Store) UpdateNotification(ctx context.Context, n records.Notification) error {
	var old records.Notification
	ok, err := s.notifications.get(ctx, docKey(n.Key), &old)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("embedded store: there is no notification %q to update: insert it first", n.Key)
	}
	if err := s.indexDue(ctx, &n); err != nil {
		return err
	}
	if err := s.notifications.put(ctx, docKey(n.Key), n.Key, &n); err != nil {
		return err
	}
	// Also when old was not indexed: a concurrent insert may have left an entry.
	if !indexed(&n) {
		return s.notifications.remove(ctx, dueKey(n.Key))
	}
	return nil
}

// Notification implements store.Store.
func (s *Store) Notification(ctx context.Context, key string) (n records.Notification, ok bool, err error) {
	ok, err = s.notifications.get(ctx, docKey(key), &n)
	return n, ok, err
}

// DueNotifications implements store.Store. It reads the index of mails that become
// due, and only the documents that it returns.
func (s *Store) DueNotifications(ctx context.Context, now time.Time, limit int) ([]records.Notification, error) {
	var candidates []due
	err := s.notifications.each(ctx, "due.*", false, func(key string, value []byte) error {
		d := due{key: tokenOf(key)}
		if err := s.notifications.decode(key, value, &d); err != nil {
			return err
		}
		if isDue(d.NextAt, now) {
			candidates = append(candidates, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(candidates, func(a, b due) int { return a.ReachedAt.Compare(b.ReachedAt) })
	return s.firstDue(ctx, candidates, now, limit)
}

func (s *Store) firstDue(ctx context.Context, candidates []due, now time.Time, limit int) ([]records.Notification, error) {
	var found []records.Notification
	for i, c := range candidates {
		// Stop at the limit, but after all mails of one moment: their keys decide
		// the order.
		if limit > 0 && len(found) >= limit && !c.ReachedAt.Equal(candidates[i-1].ReachedAt) {
			break
		}
		var n records.Notification
		ok, err := s.notifications.get(ctx, c.key, &n)
		if err != nil {
			return nil, err
		}
		if ok && indexed(&n) && isDue(n.NextAt, now) {
			found = append(found, n)
		}
	}
	sortNotifications(found)
	return first(found, limit), nil
}

// NotificationsOf implements store.Store.
func (s *Store) NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error) {
	all, err := ofCustomer(ctx, s.notifications, customer, func(n *records.Notification) string { return n.Customer })
	sortNotifications(all)
	return all, err
}

// NotificationsBetween implements store.Store.
func (s *Store) NotificationsBetween(ctx context.Context, from, to time.Time) ([]records.Notification, error) {
	all, err := documents[records.Notification](ctx, s.notifications, "doc.*")
	all = slices.DeleteFunc(all, func(n records.Notification) bool { return !records.Within(n.ReachedAt, from, to) })
	for i := range all {
		all[i].Body = nil
	}
	sortNotifications(all)
	return all, err
}

func sortNotifications(all []records.Notification) {
	slices.SortFunc(all, func(a, b records.Notification) int {
		return cmp.Or(a.ReachedAt.Compare(b.ReachedAt), strings.Compare(a.Key, b.Key))
	})
}

// ofCustomer returns a customer's documents by the index. It ignores an entry whose
// document is missing or belongs to another customer now.
func ofCustomer[T any](ctx context.Context, b *bucket, customer string, owner func(*T) string) ([]T, error) {
	keys, err := b.keys(ctx, "of."+events.Token(customer)+".*")
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	found, there := make([]T, len(keys)), make([]bool, len(keys))
	err = parallel(ctx, len(keys), func(ctx context.Context, i int) error {
		ok, err := b.get(ctx, tokenOf(keys[i]), &found[i])
		there[i] = ok && owner(&found[i]) == customer
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []T
	for i, ok := range there {
		if ok {
			all = append(all, found[i])
		}
	}
	return all, nil
}
