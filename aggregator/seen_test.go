package aggregator

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// newOwner returns a Processor that owns the partition, without stream.Run.
func (b *testPartition) newOwner(t testing.TB, ctx context.Context, epoch uint64) *Processor {
	t.Helper()
	p := New(b.options(), 0)
	p.archive = fingerprint.NewArchive(&p.store, b.sizes)
	p.own(ctx, &stream.Owner{JS: b.env.JS, Epoch: epoch, Log: slog.New(slog.DiscardHandler)})
	p.f.setCatalog(*b.catalog.Load())
	return p
}

// seenState returns the numbers of messages and bytes in SEEN.
func (b *testPartition) seenState(t testing.TB) (messages, bytes uint64) {
	t.Helper()
	s, err := b.env.JS.Stream(context.Background(), events.StreamSeen)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs, s.CachedInfo().State.Bytes
}

// TestEventWaitsWhileSeenIsUnavailable checks that an event is neither counted nor
// ignored while its fingerprint cannot be looked up.
func TestEventWaitsWhileSeenIsUnavailable(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := b.newOwner(t, ctx, 1)
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
		t.Error("no error after the end of the ownership")
	}
}

// TestMessagesOfMergedRunsAreDeleted checks that an owner deletes the messages of
// merged runs that the owner before has not deleted, and no others.
func TestMessagesOfMergedRunsAreDeleted(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.sizes, b.keepMerged = fingerprint.Sizes{Chunk: 3, Page: 4, Fanout: 2, Cache: 2}, time.Hour
	stop, _ := b.run(t, b.env.JS)
	const rounds, each = 30, 4
	for i := range rounds {
		b.publishUses(t, fmt.Sprint(i, "-"), each)
		newest, err := stream.Newest(t.Context(), b.env.JS, b.env.Names, Spec(b.env.Names, 0).Inputs[0])
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { // so that each round has a run
			at, err := stream.Committed(t.Context(), b.env.JS, b.env.Names, stream.RoleAggregator, 0)
			return err == nil && len(at) > 0 && at[0].Seq >= newest
		})
	}
	// state returns how many messages the log names, how many are in SEEN, and
	// whether there are runs to merge.
	state := func() (named, there uint64, mergeable bool) {
		live := New(b.options(), 0)
		live.archive = fingerprint.NewArchive(&live.store, b.sizes)
		if _, _, err := stream.ReadLog(t.Context(), b.env.JS, b.env.Names, stream.RoleAggregator, 0, live); err != nil {
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
		t.Fatalf("%d messages in SEEN, %d in the log: some were deleted too early", there, named)
	}
	b.keepMerged = 0
	b.run(t, b.env.JS)
	b.publishUses(t, "last", 1) // so that there is something to commit
	eventually(t, func() bool { named, there, mergeable := state(); return there == named && !mergeable })
	for i := range rounds {
		b.publishUses(t, fmt.Sprint(i, "-"), each)
	}
	if got, want := currentUse(t, b.windows(t, "acme"), "api"), fmt.Sprint(rounds*each+1); got != want {
		t.Errorf("used %s, want %s", got, want)
	}
}

// TestUncommittedMergeIsIgnored takes over after a merge that is in no commit.
func TestUncommittedMergeIsIgnored(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.sizes = fingerprint.Sizes{Chunk: 1, Page: 2, Fanout: 2, Cache: 2}
	p := b.newOwner(t, t.Context(), 1)
	p.f.horizon = 32 * day
	if err := p.loadSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.docs.writer = offline(*b.catalog.Load(), time.Now).docs.writer
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
	eventually(t, func() bool { return len(p.mergeDone) == 1 }) // no commit contains it
	q := b.newOwner(t, t.Context(), 2)
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
