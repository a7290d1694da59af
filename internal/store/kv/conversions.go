package kv

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// WriteConversion implements store.Store.
func (s *Store) WriteConversion(ctx context.Context, c records.Conversion) error {
	if err := s.conversions.put(ctx, ofKey(c.Customer, c.Key), c.Key, nil); err != nil {
		return err
	}
	return s.conversions.put(ctx, docKey(c.Key), c.Key, &c)
}

// DeleteConversion implements store.Store. The index entry stays: readers ignore it,
// and a conversion that is written again needs it.
func (s *Store) DeleteConversion(ctx context.Context, key string) error {
	return s.conversions.remove(ctx, docKey(key))
}

// Conversions implements store.Store.
func (s *Store) Conversions(ctx context.Context, from, to time.Time) ([]records.Conversion, error) {
	all, err := documents[records.Conversion](ctx, s.conversions, "doc.*")
	all = slices.DeleteFunc(all, func(c records.Conversion) bool { return !records.Within(c.ConvertedAt, from, to) })
	sortConversions(all)
	return all, err
}

// ConversionsOf implements store.Store.
func (s *Store) ConversionsOf(ctx context.Context, customer string) ([]records.Conversion, error) {
	all, err := ofCustomer(ctx, s.conversions, customer, func(c *records.Conversion) string { return c.Customer })
	sortConversions(all)
	return all, err
}

func sortConversions(all []records.Conversion) {
	slices.SortFunc(all, func(a, b records.Conversion) int {
		return cmp.Or(a.ConvertedAt.Compare(b.ConvertedAt), strings.Compare(a.Key, b.Key))
	})
}
