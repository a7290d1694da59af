package stream

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// calm is a tally that commits changes only, and looks at the clock all the time.
type calm struct {
	*tally
	committed uint64
}

func (c *calm) Tick(now time.Time) (time.Time, error) { return now.Add(5 * time.Millisecond), nil }

func (c *calm) Commit() ([]byte, error) {
	if c.committed == c.n {
		return nil, nil
	}
	c.committed = c.n
	return c.tally.Commit()
}

// TestFormerStatesAreGoneInTwoDays: what was erased from the state is in its log no more,
// though no message came since. Then no more snapshots are taken.
func TestFormerStatesAreGoneInTwoDays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ahead atomic.Int64
	b.env.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	stop := b.start(t, &calm{tally: newTally()})
	b.publish(t, 3)
	if n := b.count(t, 0); n != 3 {
		t.Fatalf("counted %d, want 3", n)
	}
	until(t, "committed", func() bool {
		at, err := Committed(t.Context(), b.env.JS, b.env.Names, "tally", 0)
		return err == nil && len(at) > 0 && at[0].Seq == 3
	})
	s, err := b.env.JS.Stream(t.Context(), "STATE")
	if err != nil {
		t.Fatal(err)
	}
	last := func() uint64 {
		m, err := s.GetLastMsgForSubject(t.Context(), "state.tally.0.log")
		if err != nil {
			t.Fatal(err)
		}
		return m.Sequence
	}
	commit := last()
	for days := range 2 {
		before := last()
		ahead.Add(int64(snapshotAge))
		until(t, "a snapshot", func() bool { return last() > before })
		_, err := s.GetMsg(t.Context(), commit)
		if days == 0 && err != nil {
			t.Errorf("a reader may still need %d: %v", commit, err)
		}
	}
	until(t, "purged", func() bool {
		_, err := s.GetMsg(t.Context(), commit)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
	end := last()
	ahead.Add(int64(3 * snapshotAge))
	b.publish(t, 1) // is handled after the clock has been looked at
	until(t, "committed", func() bool {
		at, err := Committed(t.Context(), b.env.JS, b.env.Names, "tally", 0)
		return err == nil && len(at) > 0 && at[0].Seq == 4
	})
	next, err := s.GetMsg(t.Context(), end+1, jetstream.WithGetMsgSubject("state.tally.0.log"))
	if err != nil {
		t.Fatal(err)
	}
	if m, _, err := decodeRecord(next.Data); err != nil || m.Kind != kindCommit {
		t.Errorf("another snapshot was taken of the same state: kind %v, %v", m.Kind, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c := newTally()
	if b.open(t, c); c.n != 4 {
		t.Errorf("restored %d, want 4", c.n)
	}
}
