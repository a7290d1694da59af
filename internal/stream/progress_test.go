package stream

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// stuck waits in Handle for its turn.
type stuck struct {
	*tally
	turns chan struct{}
}

func (s stuck) Handle(m *Message) error {
	<-s.turns
	return s.tally.Handle(m)
}

func (stuck) Documents() Documents {
	return Documents{Collection: "tallies", Waiting: 3, Oldest: time.Minute}
}

// TestProgressIsExact: of a processor that waits in the middle of what it was
// given, while others' messages lie in between.
func TestProgressIsExact(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const total, handled = 30, 9
	for range total {
		b.publish(t, 1)
		if _, err := b.env.JS.Publish(t.Context(), "account.1", []byte("not ours")); err != nil {
			t.Fatal(err)
		}
	}
	var clock atomic.Int64
	clock.Store(time.Now().Add(time.Hour).UnixNano())
	b.env.Now = func() time.Time { return time.Unix(0, clock.Load()) }
	s := stuck{newTally(), make(chan struct{}, total+1)}
	stop := b.start(t, s)
	defer func() { _ = stop() }()
	for range handled {
		s.turns <- struct{}{}
		<-s.handled
	}
	next := uint64(2*handled + 1) // in ACCOUNT
	str, err := b.env.JS.Stream(t.Context(), events.StreamAccount)
	if err != nil {
		t.Fatal(err)
	}
	m, err := str.GetMsg(t.Context(), next)
	if err != nil {
		t.Fatal(err)
	}
	p := b.untilPending(t, total-handled)
	if p.Lag != b.env.Now().Sub(m.Time) || p.Holder != "test" || p.Role != "tally" || p.Epoch != 1 || p.Documents == nil || *p.Documents != s.Documents() {
		t.Errorf("%+v, want a lag of %v", p, b.env.Now().Sub(m.Time))
	}
	for range total - handled {
		s.turns <- struct{}{}
	}
	if p := b.untilPending(t, 0); p.Lag != 0 {
		t.Errorf("nothing waits, but %+v", p)
	}
	// What came long after the last one is not as old as that.
	clock.Add(int64(time.Hour))
	b.publish(t, 1)
	if p := b.untilPending(t, 1); p.Lag > 2*time.Hour {
		t.Errorf("%+v", p)
	}
	s.turns <- struct{}{}
}

// untilPending asks until so much waits: what was handled last counts a moment
// later.
func (b *bench) untilPending(t *testing.T, n uint64) (p Progress) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		p, err := ProgressOf("tally").Ask(ctx, b.asker(), 0, None{})
		if err != nil {
			t.Fatalf("%v; last %+v, want %d", err, p, n)
		}
		if p.Pending == n {
			return p
		}
	}
}
