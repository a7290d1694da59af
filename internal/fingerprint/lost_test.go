package fingerprint

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// shortHeap is a heap that lost its end.
type shortHeap struct{ heap }

func (h *shortHeap) Get(ctx context.Context, number uint64) ([]byte, error) {
	if number > uint64(len(h.messages)) {
		return nil, fmt.Errorf("%d: %w", number, ErrGone)
	}
	return h.heap.Get(ctx, number)
}

// TestAStoreThatLostItsEnd: whatever has the numbers of lost messages now, an archive
// leaves out the runs that are lost, in part or whole, and no others.
func TestAStoreThatLostItsEnd(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		store := &shortHeap{}
		sizes := Sizes{Chunk: 8, Page: rapid.IntRange(1, 4).Draw(rt, "page"), Fanout: 100, Cache: 2}
		a := NewArchive(store, sizes)
		next := uint64(1)
		write := func(a *Archive, n int) Run {
			var es []Entry
			for range n {
				es = append(es, Entry{murmur64(next), uint32(next)})
				next++
			}
			run, err := a.Write(ctx, es)
			if err != nil {
				rt.Fatal(err)
			}
			return run
		}
		for range rapid.IntRange(1, 6).Draw(rt, "runs") {
			a.Add(write(a, rapid.IntRange(1, 12).Draw(rt, "entries")))
		}
		runs, last := slices.Clone(a.Runs()), next
		cut := rapid.IntRange(0, len(store.messages)).Draw(rt, "cut")
		store.messages = store.messages[:cut]
		for range rapid.IntRange(0, 6).Draw(rt, "others") {
			write(NewArchive(store, sizes), rapid.IntRange(1, 12).Draw(rt, "entries"))
		}
		running := rapid.Bool().Draw(rt, "running") // or taken over
		if !running {
			a = NewArchive(store, sizes)
			for _, r := range runs {
				a.Add(r.Bare())
			}
			if err := a.Load(ctx); err != nil {
				rt.Fatal(err)
			}
		}
		lostFrom := func(r *Run) bool { return slices.Max(r.Messages()) > uint64(cut) }
		for fp := uint64(1); fp < last; fp++ {
			i := slices.IndexFunc(runs, func(r Run) bool { return r.From <= uint32(fp) && uint32(fp) <= r.Hour })
			known, err := a.Has(ctx, murmur64(fp), 0)
			if err != nil {
				rt.Fatal(err)
			}
			if whole := !lostFrom(&runs[i]); whole && !known || !whole && known && !running {
				rt.Fatalf("%d of run %d is known: %t; the store was cut at %d", fp, i, known, cut)
			}
		}
		lost := a.TakeLost()
		for i := range lost {
			if !lostFrom(&lost[i]) {
				rt.Fatalf("run %d is not lost", lost[i].ID())
			}
		}
		if !running && len(lost)+len(a.Runs()) != len(runs) {
			rt.Fatalf("%d lost and %d left of %d", len(lost), len(a.Runs()), len(runs))
		}
	})
}
