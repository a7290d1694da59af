package aggregator

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// windowBytes encodes all windows without the sequence of their last message.
func (f *testFolder) windowBytes() []byte {
	r := decoded(f.t, f.state)
	for i := range r.Windows {
		r.Windows[i].Seq = 0
	}
	return marshal(f.t, r.Windows)
}

// decoded returns the snapshot of a state.
func decoded(t failer, s *state) (r record) {
	b, err := s.snapshot(record{})
	if err == nil {
		err = wire.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBatchesAndSingleEventsGiveSameWindows folds the same events in batches and as
// single messages.
func TestBatchesAndSingleEventsGiveSameWindows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		batched, single := newTestFolder(t, catalogOfAllKinds()), newTestFolder(t, catalogOfAllKinds())
		var sent []events.Event
		now := epoch
		for range rapid.IntRange(1, 12).Draw(rt, "messages") {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Hour, 3 * day, 40 * day}).Draw(rt, "later"))
			var es []events.Event
			for range rapid.IntRange(0, 6).Draw(rt, "events") {
				es = append(es, usageEvent(rt, rapid.SampledFrom(customers).Draw(rt, "customer"), now, 40*day, &sent))
			}
			batched.sendBatch(now, es...)
			for i := range es {
				if rapid.Bool().Draw(rt, "as JSON") {
					single.send(now, events.Token(es[i].Subject), es[i].AppendJSON(nil))
				} else {
					single.sendBatch(now, es[i])
				}
			}
			if len(es) == 0 {
				single.sendBatch(now) // so that expire runs there as well
			}
		}
		if !bytes.Equal(batched.windowBytes(), single.windowBytes()) {
			rt.Fatalf("batched %x\nsingle %x", batched.windowBytes(), single.windowBytes())
		}
		if len(batched.dead) != len(single.dead) {
			rt.Fatalf("%d dead batched, %d single", len(batched.dead), len(single.dead))
		}
	})
}

// TestPrefetchDoesNotChangeResult folds the same messages with and without
// prefetch.
func TestPrefetchDoesNotChangeResult(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		alone, together := newTestFolder(t, catalogOfAllKinds()), newTestFolder(t, catalogOfAllKinds())
		var ms []stream.Message
		for i, m := range script(rt) {
			last, data := m.token, m.data
			if last == events.BatchToken && rapid.Bool().Draw(rt, "as JSON") {
				b := events.NewBatch(data)
				var e events.Event
				if _, more, err := b.Next(&e); !more || err != nil {
					rt.Fatal(more, err)
				}
				last, data = events.Token(e.Subject), e.AppendJSON(nil)
				if rapid.IntRange(0, 5).Draw(rt, "wrong") == 0 {
					last = "another"
				}
			}
			ms = append(ms, stream.Message{Subject: "usage.p.0." + last, Data: data, Seq: uint64(i) + 1, Time: m.at})
		}
		for len(ms) > 0 {
			n := rapid.IntRange(1, min(len(ms), stream.PrefetchMax)).Draw(rt, "together")
			together.prefetch(ms[:n])
			for i := range ms[:n] {
				for _, f := range []*testFolder{alone, together} {
					if err := f.fold(&ms[i]); err != nil {
						rt.Fatal(err)
					}
				}
				if rapid.IntRange(0, 9).Draw(rt, "again") == 0 { // prefetched again, as after a pause
					together.prefetch(ms[i+1 : n])
				}
			}
			ms = ms[n:]
		}
		a, b := marshal(t, alone.dead), marshal(t, together.dead)
		if !bytes.Equal(alone.windowBytes(), together.windowBytes()) || !bytes.Equal(a, b) {
			rt.Fatalf("alone %x %s\ntogether %x %s", alone.windowBytes(), a, together.windowBytes(), b)
		}
	})
}

// TestRepeatedMessageChangesNothing folds batches twice, as a client may send them.
func TestRepeatedMessageChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		once, twice := newTestFolder(t, catalogOfAllKinds()), newTestFolder(t, catalogOfAllKinds())
		for _, m := range script(rt) {
			once.play([]message{m})
			twice.play([]message{m})
			if m.token == events.BatchToken {
				twice.play([]message{m})
			}
		}
		if !bytes.Equal(once.windowBytes(), twice.windowBytes()) {
			rt.Fatal("the windows differ")
		}
	})
}

// TestWindowsNeverOverlap checks the windows of each feature after each message.
// Control events in the script cut them late.
func TestWindowsNeverOverlap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := newTestFolder(t, catalogOfAllKinds())
		for _, m := range script(rt) {
			f.play([]message{m})
			for c := range f.customers.all {
				ws := c.sortedWindows(nil)
				ws = slices.DeleteFunc(ws, func(u *usage) bool { return u.end != 0 && u.end == u.start })
				for i := 1; i < len(ws); i++ {
					if ws[i].feature == ws[i-1].feature && ws[i].end != 0 && ws[i-1].end > ws[i].start {
						rt.Fatalf("%s: %s to %s, and from %s", ws[i].feature.name, fromMillis(ws[i-1].start), fromMillis(ws[i-1].end), fromMillis(ws[i].start))
					}
				}
			}
		}
	})
}

// TestLogGivesState commits and takes over at random times, folds again the messages
// that no commit contains, and compares the state with one fold of all messages.
func TestLogGivesState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ms := script(rt)
		want := newTestFolder(t, catalogOfAllKinds())
		want.play(ms)

		now := epoch
		clock := func() time.Time { return now }
		var log [][]byte
		var committed uint64
		p := offline(catalogOfAllKinds(), clock)
		p.begin()
		for i := 0; i < len(ms); i++ {
			now = ms[i].at
			if err := p.Handle(&stream.Message{Subject: "usage.p.0." + ms[i].token, Data: ms[i].data, Seq: uint64(i) + 1, Time: now}); err != nil {
				rt.Fatal(err)
			}
			p.emissions, p.earlyTotals = nil, nil // flushed
			if rapid.IntRange(0, 2).Draw(rt, "commit") == 0 || i == len(ms)-1 {
				b, err := p.Commit()
				if err != nil {
					rt.Fatal(err)
				}
				log, committed = append(log, b), p.f.position
			}
			if rapid.IntRange(0, 5).Draw(rt, "snapshot") == 0 && len(log) > 0 && committed == p.f.position {
				b, err := p.Snapshot()
				if err != nil {
					rt.Fatal(err)
				}
				log = [][]byte{b}
			}
			if rapid.IntRange(0, 3).Draw(rt, "crash") == 0 || i == len(ms)-1 {
				p = offline(catalogOfAllKinds(), clock)
				restore(rt, p, log)
				p.begin()
				i = int(p.f.position) - 1
			}
		}
		if d := difference(rt, p.f.state, want.state); d != "" {
			rt.Fatal(d)
		}
	})
}

// difference describes the difference between two states, apart from closed
// windows, which an owner removes at some time; "" if there is none.
func difference(t failer, got, want *state) string {
	a, b := decoded(t, got), decoded(t, want)
	closed := func(w windowRec) bool { return w.Closed }
	a.Windows, b.Windows = slices.DeleteFunc(a.Windows, closed), slices.DeleteFunc(b.Windows, closed)
	for i := range a.Windows {
		if i < len(b.Windows) && !bytes.Equal(marshal(t, a.Windows[i]), marshal(t, b.Windows[i])) {
			return fmt.Sprintf("window\n%+v, want\n%+v", a.Windows[i], b.Windows[i])
		}
	}
	for i := range a.Customers {
		if i < len(b.Customers) && !bytes.Equal(marshal(t, a.Customers[i]), marshal(t, b.Customers[i])) {
			return fmt.Sprintf("customer\n%+v, want\n%+v", a.Customers[i], b.Customers[i])
		}
	}
	if !bytes.Equal(marshal(t, &a), marshal(t, &b)) {
		return fmt.Sprintf("%d windows, %d customers at %d %d %d; want %d, %d, %d %d %d", len(a.Windows), len(a.Customers), a.Position, a.StoredAt, a.Hour,
			len(b.Windows), len(b.Customers), b.Position, b.StoredAt, b.Hour)
	}
	return ""
}

// TestDroppedBucketsStayDropped imports usage from before the dropped buckets. It
// must not count, neither for this owner nor for one that reads the log.
func TestDroppedBucketsStayDropped(t *testing.T) {
	t.Parallel()
	for _, how := range []gate.Aggregate{gate.Sum, gate.Unique} {
		p := offline(catalogOfOneGate(how, rollingDay), func() time.Time { return epoch })
		p.begin()
		later := epoch.Add(40 * day)
		for i, m := range []message{
			{epoch, events.BatchToken, batchOf([]events.Event{event("1", "use", 1, epoch)})},
			{later, events.BatchToken, batchOf([]events.Event{event("2", "use", 2, later)})}, // drops the first bucket
			{later, events.ImportToken, batchOf([]events.Event{event("3", "use", 3, epoch.Add(time.Hour))})},
		} {
			if err := p.Handle(&stream.Message{Subject: "usage.p.0." + m.token, Data: m.data, Seq: uint64(i) + 1, Time: m.at}); err != nil {
				t.Fatal(err)
			}
		}
		b, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		q := offline(catalogOfOneGate(how, rollingDay), func() time.Time { return epoch })
		if err := q.Restore(b); err != nil {
			t.Fatal(err)
		}
		if d := difference(t, q.f.state, p.f.state); d != "" {
			t.Error(how, d)
		}
	}
}

// TestCommitBeforeFirstMessage makes a commit that contains no time of a message.
func TestCommitBeforeFirstMessage(t *testing.T) {
	t.Parallel()
	p := offline(catalogOfOneGate(gate.Sum, rollingDay), func() time.Time { return epoch })
	p.begin()
	b, err := p.Commit()
	if err != nil || b == nil {
		t.Fatal(b, err)
	}
	q := offline(gate.Catalog{}, func() time.Time { return epoch })
	if err := q.Restore(b); err != nil || !q.f.storedAt.IsZero() || len(q.f.catalog.Gates) != 1 {
		t.Fatal(q.f.storedAt, q.f.catalog, err)
	}
	if b, err := p.Commit(); b != nil || err != nil {
		t.Fatalf("a commit of nothing: %x, %v", b, err)
	}
}

func restore(t *rapid.T, p *Processor, log [][]byte) {
	if err := p.Restore(nil); err != nil {
		t.Fatal(err)
	}
	for _, b := range log {
		if b == nil {
			continue // a commit without changes
		}
		if err := p.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
}
