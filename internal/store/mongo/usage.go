package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/tidegate-io/tidegate/internal/records"
)

// WriteUsage implements store.Store.
func (s *Store) WriteUsage(ctx context.Context, windows []records.Window) error {
	items := make([]item, len(windows))
	for i := range windows {
		d := newUsageDoc(&windows[i])
		items[i] = item{d.ID, d, version{d.Epoch, d.Seq}}
	}
	return s.writeNewest(ctx, s.usage, byEpochAndSeq, items)
}

// Usage implements store.Store.
func (s *Store) Usage(ctx context.Context, customer string) ([]records.Window, error) {
	return find[usageDoc](ctx, s, s.usage, of(customer), limited(0, ascending("feature", "window_start")))
}

// UsageAfter implements store.Store.
func (s *Store) UsageAfter(ctx context.Context, afterID string, limit int) ([]records.Window, error) {
	filter := append(bson.D{{Key: "current", Value: true}}, after(afterID)...)
	return find[usageDoc](ctx, s, s.usage, filter, limited(limit, ascending("_id")))
}

// AllUsage implements store.Store. It reads page by page, so that no cursor times
// out while f is slow.
func (s *Store) AllUsage(ctx context.Context, f func(records.Window) error) error {
	for last := ""; ; {
		page, err := find[usageDoc](ctx, s, s.usage, after(last), limited(s.page, ascending("_id")))
		if err != nil {
			return err
		}
		for _, w := range page {
			if err := f(w); err != nil {
				return err
			}
		}
		if len(page) < s.page {
			return nil
		}
		last = page[len(page)-1].ID()
	}
}

// of returns the filter of a customer's documents, after that of ids above one.
func of(customer string) bson.D { return bson.D{{Key: "customer", Value: customer}} }
func after(id string) bson.D    { return bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: id}}}} }
