package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

func usageComesBack(t *testing.T, s store.Store) {
	ctx, want := t.Context(), fullWindows(t)
	must(t, s.WriteUsage(ctx, want))
	must(t, s.WriteUsage(ctx, nil))
	same(t, "usage of acme", got[[]records.Window](t)(s.Usage(ctx, "acme")), want)
	same(t, "usage of nobody", got[[]records.Window](t)(s.Usage(ctx, "nobody")), nil)

	want[0].Seq++
	want[0].Used = events.Count(18)
	must(t, s.WriteUsage(ctx, want[:1]))
	same(t, "usage after a change", got[[]records.Window](t)(s.Usage(ctx, "acme")), want)
}

func usageIsListed(t *testing.T, s store.Store) {
	ctx := t.Context()
	var all, current []records.Window
	for _, customer := range []string{"a b", "a-b", "a", "a/b", "ab", "b"} { // "/" follows "-"
		past, now := window(customer, "api", day(1), 1, 1), window(customer, "api", day(31), 1, 2)
		past.Current = false
		// Written in another order than the listing's.
		all = append([]records.Window{now, past}, all...)
		current = append(current, now)
	}
	must(t, s.WriteUsage(ctx, all))
	list := got[[]records.Window](t)
	same(t, "all", list(s.UsageAfter(ctx, "", 0)), current)
	same(t, "first page", list(s.UsageAfter(ctx, "", 4)), current[:4])
	same(t, "second page", list(s.UsageAfter(ctx, current[3].ID(), 4)), current[4:])
	same(t, "after the last", list(s.UsageAfter(ctx, current[5].ID(), 4)), nil)

	seen := make(map[string]int)
	must(t, s.AllUsage(ctx, func(w records.Window) error { seen[w.ID()]++; return nil }))
	if len(seen) != len(all) {
		t.Errorf("AllUsage knows %d windows, want %d", len(seen), len(all))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("AllUsage gives %s %d times", id, n)
		}
	}
}

func walkingUsageStops(t *testing.T, s store.Store) {
	ctx, enough := t.Context(), errors.New("enough")
	var all []records.Window
	for i := range 30 {
		all = append(all, window(fmt.Sprintf("c%03d", i), "api", day(1), 1, 1))
	}
	must(t, s.WriteUsage(ctx, all))
	calls := 0
	err := s.AllUsage(ctx, func(records.Window) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("AllUsage: %v after %d calls", err, calls)
	}
}

// version orders the states of a window.
type version struct{ epoch, seq uint64 }

func (v version) compare(o version) int {
	return cmp.Or(cmp.Compare(v.epoch, o.epoch), cmp.Compare(v.seq, o.seq))
}

// usageNeverGoesBack checks that a window ends in its newest state, in whatever order
// and batches its states are written; of equal ones, in the last written.
func usageNeverGoesBack(t *testing.T, s store.Store) {
	ctx, round := t.Context(), 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		customer := fmt.Sprintf("c%d", round)
		states := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) records.Window {
			w := window(customer, rapid.SampledFrom([]string{"api", "reports"}).Draw(rt, "feature"), day(rapid.IntRange(1, 2).Draw(rt, "day")),
				rapid.Uint64Range(1, 3).Draw(rt, "epoch"), rapid.Uint64Range(1, 3).Draw(rt, "seq"))
			w.Events = rapid.Int64Range(0, 1000).Draw(rt, "events") // distinguishes equal versions
			return w
		}), 1, 10).Draw(rt, "states")
		want := make(map[string]records.Window)
		for rest := states; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			if err := s.WriteUsage(ctx, rest[:n]); err != nil {
				rt.Fatal(err)
			}
			for _, w := range rest[:n] {
				old, ok := want[w.ID()]
				if !ok || (version{old.Epoch, old.Seq}).compare(version{w.Epoch, w.Seq}) <= 0 {
					want[w.ID()] = w
				}
			}
			rest = rest[n:]
		}
		found, err := s.Usage(ctx, customer)
		if err != nil {
			rt.Fatal(err)
		}
		if len(found) != len(want) {
			rt.Fatalf("%d windows, want %d", len(found), len(want))
		}
		for _, w := range found {
			if g, x := text(t, w), text(t, want[w.ID()]); g != x {
				rt.Fatalf("\n got %s\nwant %s", g, x)
			}
		}
	})
}

func batchMayRepeatAWindow(t *testing.T, s store.Store) {
	ctx := t.Context()
	newest := window("acme", "api", day(1), 2, 1)
	must(t, s.WriteUsage(ctx, []records.Window{
		window("acme", "api", day(1), 1, 9), newest, window("acme", "api", day(1), 1, 10), window("acme", "api", day(1), 2, 0),
	}))
	same(t, "usage", got[[]records.Window](t)(s.Usage(ctx, "acme")), []records.Window{newest})
}

func batchMayBeLarge(t *testing.T, s store.Store) {
	ctx := t.Context()
	var all []records.Window
	for i := range 130 {
		all = append(all, window("acme", fmt.Sprintf("f%03d", i), day(1), 1, 5))
	}
	must(t, s.WriteUsage(ctx, all[:70])) // the batch below changes some windows and adds others
	for i := range all {
		all[i].Seq = 6
	}
	all[3].Seq, all[3].Used = 4, events.Count(99) // one state is too old
	must(t, s.WriteUsage(ctx, all))
	all[3] = window("acme", "f003", day(1), 1, 5)
	same(t, "usage", got[[]records.Window](t)(s.Usage(ctx, "acme")), all)
}

func racingWindows(t *testing.T, s store.Store) {
	const writers, each = 4, 25
	ctx := t.Context()
	// Every writer has its own shuffled share of the versions of one window.
	versions := rand.New(rand.NewPCG(1, 2)).Perm(writers * each)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for _, v := range versions[i*each : (i+1)*each] {
				w := window("acme", "api", day(1), uint64(1+v/10), uint64(1+v%10))
				if err := s.WriteUsage(ctx, []records.Window{w}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	want := window("acme", "api", day(1), writers*each/10, 10)
	same(t, "usage", got[[]records.Window](t)(s.Usage(ctx, "acme")), []records.Window{want})
}
