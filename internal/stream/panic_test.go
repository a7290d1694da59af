package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// odd is a tally some of whose methods a test replaces.
type odd struct {
	*tally
	apply    func() error
	tick     func()
	prefetch func([]Message)
	snapshot func()
	handle   func(*Message) error
}

func (o *odd) Apply(b []byte) error {
	if o.apply != nil {
		return o.apply()
	}
	return o.tally.Apply(b)
}

func (o *odd) Tick(now time.Time) (time.Time, error) {
	if o.tick != nil {
		o.tick()
	}
	return o.tally.Tick(now)
}

func (o *odd) Prefetch(ms []Message) {
	if o.prefetch != nil {
		o.prefetch(ms)
	}
}

func (o *odd) Handle(m *Message) error {
	if o.handle != nil {
		if err := o.handle(m); err != nil {
			return err
		}
	}
	return o.tally.Handle(m)
}

func (o *odd) Snapshot() ([]byte, error) {
	if o.snapshot != nil {
		o.snapshot()
	}
	return o.tally.Snapshot()
}

// count asks the owner how many messages it has counted.
func (b *bench) count(t *testing.T, partition int) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := b.asker()
	a.Patience = 20 * time.Second
	n, err := countQuestion.Ask(ctx, a, partition, None{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// supervise runs the partitions 0 and 1 with processors that f makes.
func (b *bench) supervise(t *testing.T, f func(partition int) Processor) *Supervisor {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := NewSupervisor(b.env)
	for p := range 2 {
		s.Go(ctx, Spec{Role: "tally", Partition: p, Inputs: []Input{{Stream: events.StreamAccount, Filters: []string{fmt.Sprintf("account.%d", p)}}}},
			func() Processor { return f(p) })
	}
	t.Cleanup(func() { cancel(); s.Wait() })
	return s
}

// until waits for a condition that other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestAPanicInPrefetchCostsNoMessage: the batch is handled without it.
func TestAPanicInPrefetchCostsNoMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(t, 100)
	p := &odd{tally: newTally(), prefetch: func(ms []Message) { _ = ms[len(ms)] }}
	stop := b.start(t, p)
	for <-p.handled < 100 {
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if dead := b.dead(t); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

// TestAPartitionThatCannotBeLoadedStopsNoOther: its state is of another version, for
// example.
func TestAPartitionThatCannotBeLoadedStopsNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(t, 1)
	c := newTally()
	stop := b.start(t, c)
	<-c.handled
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s := b.supervise(t, func(p int) Processor {
		o := &odd{tally: newTally()}
		if p == 0 {
			o.apply = func() error { noMap()[0]++; return nil }
		}
		return o
	})
	b.publishText(t, "account.1", "x")
	if n := b.count(t, 1); n != 1 {
		t.Errorf("the other partition has counted %d", n)
	}
	until(t, "named as not ready", func() bool {
		err := s.Ready()
		return err != nil && strings.Contains(err.Error(), "tally.0: log: commit 1 of state.tally.0.log: panic at stream.") && !strings.Contains(err.Error(), "tally.1")
	})
	if all := s.Troubles(); len(all) != 1 || all[0].Failures == 0 || !strings.Contains(all[0].Last, "panic at stream.") {
		t.Errorf("troubles: %+v", all)
	}
}

// TestAPanicWithoutAMessageIsRetried: nothing is given up, and the partition goes on
// when it is over.
func TestAPanicWithoutAMessageIsRetried(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ticks atomic.Int64
	s := b.supervise(t, func(p int) Processor {
		o := &odd{tally: newTally()}
		if p == 0 {
			o.tick = func() {
				if ticks.Add(1) == 1 {
					panic("only once")
				}
			}
		}
		return o
	})
	b.publish(t, 3)
	if n := b.count(t, 0); n != 3 {
		t.Errorf("counted %d, want 3", n)
	}
	if all := s.Troubles(); len(all) != 1 || all[0].Failures != 1 || all[0].Panicked != 0 {
		t.Errorf("troubles: %+v", all)
	}
	if dead := b.dead(t); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

// TestASnapshotThatPanicsIsLeftOut: the log grows, and commits go on.
func TestASnapshotThatPanicsIsLeftOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env.SnapshotAfter = 1
	p := &odd{tally: newTally(), snapshot: func() { panic("it is too large") }}
	stop := b.start(t, p)
	for n := range uint64(3) {
		b.publish(t, 1)
		<-p.handled
		until(t, "committed", func() bool {
			at, err := Committed(t.Context(), b.env.JS, b.env.Names, "tally", 0)
			return err == nil && len(at) > 0 && at[0].Seq == n+1
		})
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestAnAnswerThatPanicsIsAnError: the asker learns of it, and the partition goes on.
func TestAnAnswerThatPanicsIsAnError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.start(t, &echo{tally: newTally()})
	for range 2 {
		if _, err := echoQuestion.Ask(t.Context(), b.asker(), 0, "panic"); !errors.Is(err, ErrOwner) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want ErrOwner without the data", err)
		}
	}
	b.publish(t, 1)
	if n := b.count(t, 0); n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestAnOutageCostsNoMessage: the partition waits until what it needs is back.
func TestAnOutageCostsNoMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var away atomic.Bool
	away.Store(true)
	s := b.supervise(t, func(int) Processor {
		return &odd{tally: newTally(), handle: func(*Message) error {
			if away.Load() {
				return Outage(errors.New("fingerprints are away"))
			}
			return nil
		}}
	})
	b.publish(t, 2)
	until(t, "stopped", func() bool { err := s.Ready(); return err != nil && strings.Contains(err.Error(), "away") })
	away.Store(false)
	if n := b.count(t, 0); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
	if dead := b.dead(t); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

// TestAFullOrMissingDeadStreamStopsNothing: the letters are lost, which is counted, and
// the partition commits.
func TestAFullOrMissingDeadStreamStopsNothing(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, b *bench){
		"full": func(t *testing.T, b *bench) {
			b.setDead(t, func(cfg *jetstream.StreamConfig) { cfg.MaxBytes, cfg.Discard = 1, jetstream.DiscardNew })
		},
		"missing": func(t *testing.T, b *bench) {
			if err := b.env.JS.DeleteStream(t.Context(), events.StreamDead); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			spoil(t, b)
			b.env.ledger = newLedger()
			p := picky{newTally()}
			for _, text := range []string{"bad", "good", "half"} {
				b.publishText(t, "account.0", text)
			}
			stop := b.start(t, p)
			for <-p.handled < 3 {
			}
			until(t, "committed", func() bool {
				at, err := Committed(t.Context(), b.env.JS, b.env.Names, "tally", 0)
				return err == nil && len(at) > 0 && at[0].Seq == 3
			})
			if all := b.env.ledger.troubles(); len(all) != 1 || all[0].LostLetters != 2 || all[0].DeadLetters != 2 {
				t.Errorf("troubles: %+v", all)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestALetterAlwaysFits into a message, however long reason, id and body are.
func TestALetterAlwaysFits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := picky{newTally()}
	b.publish(t, 1)
	stop := b.start(t, p)
	<-p.handled
	long := strings.Repeat("\x01ü", 600_000)
	for range 2 {
		p.o.RejectDocument("usage", long, map[string]string{"x": long}, errors.New(long))
	}
	if err := p.o.Reject(&Message{Seq: 7}, 3, []byte(long), errors.New(long)); err != nil {
		t.Fatal(err)
	}
	if err := p.o.out.drain(); err != nil {
		t.Fatal(err)
	}
	if dead := b.dead(t); len(dead) != 2 || !dead["ACCOUNT/7/3"][0].Truncated {
		t.Errorf("%d letters", len(dead))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// noMap is what a mistake in a fold writes into.
func noMap() map[int]int { return nil }
