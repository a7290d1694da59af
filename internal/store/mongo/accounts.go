package mongo

import (
	"context"

	"github.com/tidegate-io/tidegate/internal/records"
)

// WriteCustomers implements store.Store.
func (s *Store) WriteCustomers(ctx context.Context, customers []records.Customer) error {
	items := make([]item, len(customers))
	for i := range customers {
		d := newCustomerDoc(&customers[i])
		items[i] = item{d.ID, d, version{seq: d.Position}}
	}
	return s.writeNewest(ctx, s.customers, byPosition, items)
}

// Customer implements store.Store.
func (s *Store) Customer(ctx context.Context, id string) (c records.Customer, ok bool, err error) {
	return get[customerDoc, records.Customer](ctx, s, s.customers, id)
}

// Customers implements store.Store.
func (s *Store) Customers(ctx context.Context, afterID string, limit int) ([]records.Customer, error) {
	return find[customerDoc](ctx, s, s.customers, after(afterID), limited(limit, ascending("_id")))
}

// WriteSubscriptions implements store.Store.
func (s *Store) WriteSubscriptions(ctx context.Context, subscriptions []records.Subscription) error {
	items := make([]item, len(subscriptions))
	for i := range subscriptions {
		d := newSubscriptionDoc(&subscriptions[i])
		items[i] = item{d.ID, d, version{seq: d.Position}}
	}
	return s.writeNewest(ctx, s.subscriptions, byPosition, items)
}

// Subscription implements store.Store.
func (s *Store) Subscription(ctx context.Context, customer string) (sub records.Subscription, ok bool, err error) {
	return get[subscriptionDoc, records.Subscription](ctx, s, s.subscriptions, customer)
}
