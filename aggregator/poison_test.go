package aggregator

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// supervise owns the partition until the test ends. Whoever folds an event whose id is
// in poison panics, after its windows have changed.
func (b *testPartition) supervise(t *testing.T, poison ...events.Event) *stream.Supervisor {
	t.Helper()
	s, _ := b.superviseUntil(t, poison...)
	return s
}

// superviseUntil is supervise, until stop is called.
func (b *testPartition) superviseUntil(t *testing.T, poison ...events.Event) (s *stream.Supervisor, stop func()) {
	t.Helper()
	bad := map[uint64]bool{}
	for _, e := range poison {
		bad[fingerprint.Of(e.Subject, e.Source, e.ID)] = true
	}
	ctx, cancel := context.WithCancel(context.Background())
	s = stream.NewSupervisor(b.env)
	s.Go(ctx, Spec(b.env.Names, 0), func() stream.Processor {
		p := New(b.options(), 0)
		p.archive, p.store.attempts = fingerprint.NewArchive(&p.store, b.sizes), 2
		count := p.f.onCounted
		p.f.onCounted = func(e fingerprint.Entry) {
			count(e)
			if bad[e.FP] {
				panic("of one event")
			}
		}
		return p
	})
	stop = func() { cancel(); s.Wait() }
	t.Cleanup(stop)
	return s, stop
}

// TestAPoisonedEventCostsItselfOnly: ingest puts events of many customers into one
// message, and one of them must not take the others with it.
func TestAPoisonedEventCostsItselfOnly(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	use := func(id string) events.Event { return events.Event{ID: id, Type: "api", Subject: "acme"} }
	inBatch, alone := use("40"), use("alone")
	s := b.supervise(t, inBatch, alone)
	b.publishUses(t, "before", 3)
	var batch []byte
	for i := range 100 {
		e := use(fmt.Sprint(i))
		batch = events.AppendBatch(batch, &e)
	}
	b.publish(t, "usage.p.0.~batch", batch)                           // 4
	b.publish(t, "usage.in.acme", alone.AppendJSON(nil))              // 5
	b.publish(t, "usage.p.0.~batch", events.AppendBatch(nil, &alone)) // 6: again, and still no duplicate
	b.publishUses(t, "after", 3)
	eventually(t, func() bool { return s.Owning() == nil && len(b.deadLetters(t)) >= 3 })
	if got := currentUse(t, b.windows(t, "acme"), "api"); got != "105" {
		t.Errorf("used %s, want 105", got)
	}
	origins := map[string]int{}
	for _, d := range b.deadLetters(t) {
		origins[d.Origin]++
	}
	if want := map[string]int{"USAGE/4/40": 1, "USAGE/5/-1": 1, "USAGE/6/0": 1}; !maps.Equal(origins, want) {
		t.Errorf("letters %v, want %v", origins, want)
	}
	if all := s.Troubles(); len(all) != 1 || all[0].Panicked != 3 {
		t.Errorf("troubles: %+v", all)
	}
	if res := b.verify(t); res.Windows == 0 || len(res.Differences) != 0 {
		t.Errorf("replay: %+v", res)
	}
}

// TestHandleDoesNotNeedPrefetch: a prefetch that panics has read some of the messages.
func TestHandleDoesNotNeedPrefetch(t *testing.T) {
	t.Parallel()
	f := newTestFolder(t, *catalog())
	var ms []stream.Message
	for i := range stream.PrefetchMax + 1 { // one too many
		e := events.Event{ID: fmt.Sprint(i), Type: "api", Subject: fmt.Sprint("c", i%3)}
		ms = append(ms, stream.Message{Subject: "usage.p.0." + e.Subject, Data: e.AppendJSON(nil), Seq: uint64(i + 1), Time: epoch})
	}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("prefetch did not panic")
				}
			}()
			f.prefetch(ms)
		}()
	}
	for i := range ms {
		if err := f.fold(&ms[i]); err != nil {
			t.Fatal(err)
		}
	}
	for c, want := range map[string]string{"c0": "11", "c1": "11", "c2": "11"} {
		if got := f.total(c, "api"); got != want {
			t.Errorf("%s: %s, want %s", c, got, want)
		}
	}
	if len(f.dead) != 0 {
		t.Errorf("dead letters: %v", f.dead)
	}
}
