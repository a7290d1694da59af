package kv

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// WriteCustomers implements store.Store.
func (s *Store) WriteCustomers(ctx context.Context, customers []records.Customer) error {
	return writeNewest(ctx, s.customers, customers,
		func(c *records.Customer) string { return c.ID },
		func(c *records.Customer) uint64 { return c.Position })
}

// Customer implements store.Store.
func (s *Store) Customer(ctx context.Context, id string) (c records.Customer, ok bool, err error) {
	ok, err = s.customers.get(ctx, events.Token(id), &c)
	return c, ok, err
}

// Customers implements store.Store.
func (s *Store) Customers(ctx context.Context, afterID string, limit int) ([]records.Customer, error) {
	all, err := documents[records.Customer](ctx, s.customers, "*")
	all = slices.DeleteFunc(all, func(c records.Customer) bool { return c.ID <= afterID })
	slices.SortFunc(all, func(a, b records.Customer) int { return strings.Compare(a.ID, b.ID) })
	return first(all, limit), err
}

// WriteSubscriptions implements store.Store.
func (s *Store) WriteSubscriptions(ctx context.Context, subscriptions []records.Subscription) error {
	return writeNewest(ctx, s.subscriptions, subscriptions,
		func(s *records.Subscription) string { return s.Customer },
		func(s *records.Subscription) uint64 { return s.Position })
}

// Subscription implements store.Store.
func (s *Store) Subscription(ctx context.Context, customer string) (sub records.Subscription, ok bool, err error) {
	ok, err = s.subscriptions.get(ctx, events.Token(customer), &sub)
	return sub, ok, err
}

// writeNewest stores each item unless the stored one has a greater position.
func writeNewest[T any](ctx context.Context, b *bucket, items []T, id func(*T) string, position func(*T) uint64) error {
	newest := newestOf(items, id, func(x, y *T) int { return cmp.Compare(position(x), position(y)) })
	return parallel(ctx, len(newest), func(ctx context.Context, i int) error {
		item, k := newest[i], events.Token(id(newest[i]))
		return b.write(ctx, k, id(item), item, func(old []byte) (bool, error) {
			var o T
			err := b.decode(k, old, &o)
			return position(&o) <= position(item), err
		})
	})
}
