package aggregator

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

var fingerprintCount = flag.Int("fingerprints", 1_000_000, "how many fingerprints BenchmarkFingerprints has")

// holder is a processor that was just given partition 0, without a loop.
func (b *testPartition) holder(t testing.TB, ctx context.Context, epoch uint64) *Processor {
	t.Helper()
	p := New(b.options(), 0)
	p.archive = fingerprint.NewArchive(&p.store, b.sizes)
	p.own(ctx, &stream.Owner{JS: b.env.JS, Epoch: epoch, Log: slog.New(slog.DiscardHandler)})
	p.f.setCatalog(*b.cat.Load())
	return p
}

// seenState is how many messages and bytes SEEN has.
func (b *testPartition) seenState(t testing.TB) (messages, bytes uint64) {
	t.Helper()
	s, err := b.env.JS.Stream(context.Background(), events.StreamSeen)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs, s.CachedInfo().State.Bytes
}

// TestAnEventWaitsForItsFingerprint: while nobody can say whether an event was
// counted, it is neither counted nor passed over.
func TestAnEventWaitsForItsFingerprint(t *testing.T) {
	b := startPartition(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := b.holder(t, ctx, 1)
	if err := p.loadSeen(ctx); err != nil {
		t.Fatal(err)
	}
	e := events.Event{ID: "1", Type: "api", Subject: "acme"}
	handle := func() error {
		return p.Handle(&stream.Message{Subject: "usage.p.0.acme", Data: e.AppendJSON(nil), Seq: p.f.position + 1, Time: epoch})
	}
	if err := handle(); err != nil {
		t.Fatal(err)
	}
	run, err := p.archive.Write(ctx, p.unarchived)
	if err != nil {
		t.Fatal(err)
	}
	p.archive.Add(run)
	p.f.seen = fingerprint.Set{}

	b.srv.Stop()
	done := make(chan error, 1)
	go func() { done <- handle() }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	b.srv.Restart(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if u := p.f.customers.find("acme").first; u.used != events.Count(1) {
		t.Errorf("used %s, want 1", u.used)
	}

	p.archive = fingerprint.NewArchive(&p.store, b.sizes) // with an empty cache
	p.archive.Add(run)
	b.srv.Stop()
	go func() { done <- handle() }()
	cancel()
	if err := <-done; err == nil {
		t.Error("the ownership has ended, and it went on")
	}
}

// TestAPageThatIsGoneStopsThePartition, for it cannot count exactly.
func TestAPageThatIsGoneStopsThePartition(t *testing.T) {
	b := startPartition(t)
	b.sizes = fingerprint.Sizes{Chunk: 1, Page: 1, Fanout: 100}
	stop, _ := b.run(t, b.env.JS)
	b.use(t, "", 1)
	b.windows(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	p := b.holder(t, t.Context(), 2)
	p.store.attempts = 2
	if _, err := stream.ReadLog(t.Context(), b.env.JS, b.env.Names, stream.RoleAggregator, 0, p); err != nil {
		t.Fatal(err)
	}
	if err := p.loadSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := p.archive.Runs()[0]
	if err := p.store.stream.DeleteMsg(t.Context(), run.ID()); err != nil {
		t.Fatal(err)
	}
	e := events.Event{ID: "0", Type: "api", Subject: "acme"}
	err := p.Handle(&stream.Message{Subject: "usage.p.0.acme", Data: e.AppendJSON(nil), Seq: p.f.position + 1, Time: time.Now()})
	if err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("got %v", err)
	}
	if p.f.customers.find("acme").first.used != events.Count(1) {
		t.Error("it was counted or rejected")
	}
	if err := p.store.stream.DeleteMsg(t.Context(), run.Filters[0]); err != nil {
		t.Fatal(err)
	}
	q := b.holder(t, t.Context(), 3)
	q.store.attempts = 2
	q.archive.Add(run.Bare())
	q.f.storedAt = time.Now()
	if err := q.loadSeen(t.Context()); err == nil {
		t.Error("a run without filters was loaded")
	}
}

// TestMergedFingerprintsAreDeleted by the next owner if theirs did not come to
// it, and nothing else is.
func TestMergedFingerprintsAreDeleted(t *testing.T) {
	b := startPartition(t)
	b.sizes, b.keep = fingerprint.Sizes{Chunk: 3, Page: 4, Fanout: 2, Cache: 2}, time.Hour
	stop, _ := b.run(t, b.env.JS)
	const rounds, each = 30, 4
	for i := range rounds {
		b.use(t, fmt.Sprint(i, "-"), each)
		newest, err := stream.Newest(t.Context(), b.env.JS, b.env.Names, Spec(b.env.Names, 0).Inputs[0])
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { // each round is a run of its own
			at, err := stream.Committed(t.Context(), b.env.JS, b.env.Names, stream.RoleAggregator, 0)
			return err == nil && len(at) > 0 && at[0].Seq >= newest
		})
	}
	// state is what the log names, how many messages there are for it, and
	// whether there is more to merge.
	state := func() (named, there uint64, mergeable bool) {
		live := New(b.options(), 0)
		live.archive = fingerprint.NewArchive(&live.store, b.sizes)
		if _, err := stream.ReadLog(t.Context(), b.env.JS, b.env.Names, stream.RoleAggregator, 0, live); err != nil {
			t.Fatal(err)
		}
		for _, r := range live.archive.Runs() {
			named += uint64(len(r.Messages()))
		}
		there, _ = b.seenState(t)
		return named, there, len(live.archive.Runs()) == 0 || live.archive.Mergeable(96) != nil
	}
	eventually(t, func() bool { _, _, mergeable := state(); return !mergeable })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if named, there, _ := state(); there <= named {
		t.Fatalf("%d messages for %d that the log names: they were deleted at once", there, named)
	}
	b.keep = 0
	b.run(t, b.env.JS)
	b.use(t, "last", 1) // so that there is something to commit
	eventually(t, func() bool { named, there, mergeable := state(); return there == named && !mergeable })
	for i := range rounds {
		b.use(t, fmt.Sprint(i, "-"), each)
	}
	if got, want := used(t, b.windows(t, "acme"), "api"), fmt.Sprint(rounds*each+1); got != want {
		t.Errorf("used %s, want %s", got, want)
	}
}

// TestAMergeThatWasNotCommittedCountsForNothing: the new owner merges anew.
func TestAMergeThatWasNotCommittedCountsForNothing(t *testing.T) {
	b := startPartition(t)
	b.sizes = fingerprint.Sizes{Chunk: 1, Page: 2, Fanout: 2, Cache: 2}
	p := b.holder(t, t.Context(), 1)
	p.f.horizon = 32 * day
	if err := p.loadSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.docs.writer = offline(*b.cat.Load(), time.Now).docs.writer
	p.baseNew = true
	var log [][]byte
	commit := func() {
		r, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, r)
	}
	now := time.Now()
	send := func(p *Processor, id string) {
		e := events.Event{ID: id, Type: "api", Subject: "acme"}
		m := &stream.Message{Subject: "usage.p.0.acme", Data: e.AppendJSON(nil), Seq: p.f.position + 1, Time: now}
		if err := p.Handle(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"1", "2"} {
		send(p, id)
		commit()
	}
	eventually(t, func() bool { return len(p.mergeDone) == 1 }) // and it is committed by nobody
	q := b.holder(t, t.Context(), 2)
	if err := q.Restore(nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range log {
		if err := q.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.loadSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(q.archive.Runs()); n != 2 {
		t.Fatalf("%d runs, want 2", n)
	}
	for _, id := range []string{"1", "2"} {
		send(q, id)
	}
	if u := q.f.customers.find("acme").first; u.used != events.Count(2) {
		t.Errorf("used %s, want 2", u.used)
	}
}

// remember fills SEEN with n fingerprints as the commits of 32 days up to an
// hour do, and returns one in a hundred.
func (p *Processor) remember(t testing.TB, n int, hour uint32) (sample []uint64) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < n; i += p.archive.Chunk {
		es := make([]fingerprint.Entry, min(p.archive.Chunk, n-i))
		for k := range es {
			es[k] = fingerprint.Entry{FP: r.Uint64(), Hour: hour - 767 + uint32(i*768/n)}
		}
		for k := i * 7 % 100; k < len(es); k += 100 {
			sample = append(sample, es[k].FP)
		}
		run, err := p.archive.Write(t.Context(), es)
		if err != nil {
			t.Fatal(err)
		}
		p.archive.Add(run)
		for runs := p.archive.Mergeable(96); runs != nil; runs = p.archive.Mergeable(96) {
			to, err := p.archive.Merge(t.Context(), runs, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range runs {
				p.archive.Remove([]uint64{r.ID()})
				p.store.remove(t.Context(), r.Messages())
			}
			p.archive.Add(to)
		}
	}
	return sample
}

// BenchmarkFingerprints says what -fingerprints=n remembered events cost: what
// is asked of new ones and of repeated ones, in order and in no order.
func BenchmarkFingerprints(b *testing.B) {
	bench := startPartition(b)
	p := bench.holder(b, b.Context(), 1)
	if err := p.loadSeen(b.Context()); err != nil {
		b.Fatal(err)
	}
	began, n := time.Now(), *fingerprintCount
	hour := fingerprint.Hour(began)
	sample := p.remember(b, n, hour)
	written := time.Since(began)
	_, stored := bench.seenState(b)

	began = time.Now()
	q := bench.holder(b, b.Context(), 2)
	q.f.storedAt = began
	for _, run := range p.archive.Runs() {
		q.archive.Add(run.Bare())
	}
	if err := q.loadSeen(b.Context()); err != nil {
		b.Fatal(err)
	}
	loaded, s := time.Since(began), q.archive.Stats()
	ask := func(known bool, fp func(i int) uint64) func(*testing.B) {
		return func(b *testing.B) {
			gets := q.archive.Stats().Gets
			for i := 0; b.Loop(); i++ {
				if is, err := q.archive.Has(b.Context(), fp(i), hour-768); is != known || err != nil {
					b.Fatal(is, err)
				}
			}
			b.ReportMetric(float64(q.archive.Stats().Gets-gets)/float64(b.N), "gets/op")
			b.ReportMetric(float64(s.Runs), "runs")
			b.ReportMetric(float64(s.Memory)/float64(n), "memory-B/event")
			b.ReportMetric(float64(stored)/float64(n), "SEEN-B/event")
			b.ReportMetric(loaded.Seconds(), "takeover-s")
			b.ReportMetric(float64(n)/written.Seconds(), "written/s")
		}
	}
	r := rand.New(rand.NewPCG(2, 2))
	b.Run("new", ask(false, func(int) uint64 { return r.Uint64() }))
	b.Run("repeated", ask(true, func(i int) uint64 { return sample[i%len(sample)] }))
	r.Shuffle(len(sample), func(i, k int) { sample[i], sample[k] = sample[k], sample[i] })
	b.Run("repeated-anywhere", ask(true, func(i int) uint64 { return sample[i%len(sample)] }))
	b.Run("add", func(b *testing.B) {
		var recent fingerprint.Set
		for i := 0; b.Loop(); i++ {
			if i%p.archive.Chunk == 0 {
				recent = fingerprint.Set{}
			}
			recent.Add(r.Uint64(), hour)
		}
	})
}
