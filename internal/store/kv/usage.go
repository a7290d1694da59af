package kv

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// windowKey returns <customer>.<feature>.<start>, with the start of the window's ID.
func windowKey(w *records.Window) string {
	id := w.ID()
	start := id[len(w.Customer)+len(w.Feature)+2:]
	return events.Token(w.Customer) + "." + events.Token(w.Feature) + "." + events.Token(start)
}

// WriteUsage implements store.Store.
func (s *Store) WriteUsage(ctx context.Context, windows []records.Window) error {
	// Of several states of a window in one batch the newest counts, of equal ones
	// the last.
	order := func(a, b *records.Window) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq))
	}
	newest := newestOf(windows, windowKey, order)
	return parallel(ctx, len(newest), func(ctx context.Context, i int) error {
		w := newest[i]
		key := windowKey(w)
		return s.usage.write(ctx, key, w.ID(), w, func(old []byte) (bool, error) {
			var o records.Window
			err := s.usage.decode(key, old, &o)
			return order(&o, w) <= 0, err
		})
	})
}

// Usage implements store.Store.
func (s *Store) Usage(ctx context.Context, customer string) ([]records.Window, error) {
	all, err := documents[records.Window](ctx, s.usage, events.Token(customer)+".*.*")
	slices.SortFunc(all, func(a, b records.Window) int {
		return cmp.Or(strings.Compare(a.Feature, b.Feature), a.Start.Compare(b.Start))
	})
	return all, err
}

// UsageAfter implements store.Store.
func (s *Store) UsageAfter(ctx context.Context, afterID string, limit int) ([]records.Window, error) {
	var all []records.Window
	err := s.AllUsage(ctx, func(w records.Window) error {
		if w.Current && w.ID() > afterID {
			all = append(all, w)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b records.Window) int { return strings.Compare(a.ID(), b.ID()) })
	return first(all, limit), err
}

// AllUsage implements store.Store.
func (s *Store) AllUsage(ctx context.Context, f func(records.Window) error) error {
	return s.usage.each(ctx, ">", false, func(key string, value []byte) error {
		var w records.Window
		if err := s.usage.decode(key, value, &w); err != nil {
			return err
		}
		return f(w)
	})
}

// newestOf returns the newest item of each key; of equal ones, the last.
func newestOf[T any](items []T, key func(*T) string, order func(a, b *T) int) []*T {
	at := make(map[string]int, len(items))
	newest := make([]*T, 0, len(items))
	for i := range items {
		k := key(&items[i])
		j, there := at[k]
		switch {
		case !there:
			at[k] = len(newest)
			newest = append(newest, &items[i])
		case order(newest[j], &items[i]) <= 0:
			newest[j] = &items[i]
		}
	}
	return newest
}

// first returns the first limit items, or all when limit is below 1.
func first[T any](items []T, limit int) []T {
	if limit < 1 || len(items) <= limit {
		return items
	}
	return items[:limit:limit]
}
