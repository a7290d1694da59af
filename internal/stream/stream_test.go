package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) {
	testnats.RapidChecks(25) // most of which start a server
	testnats.Main(m)
}

// tally is the smallest processor: it counts messages and publishes the count.
type tally struct {
	o       *Owner
	n       uint64
	handled chan uint64
}

func newTally() *tally { return &tally{handled: make(chan uint64, 1<<16)} }

func (c *tally) Restore(b []byte) error {
	c.n = 0
	if b != nil {
		c.n = binary.BigEndian.Uint64(b)
	}
	return nil
}
func (c *tally) Apply(b []byte) error { return c.Restore(b) }
func (c *tally) Start(_ context.Context, o *Owner) error {
	c.o = o
	Answer(o, countQuestion, func(None) (uint64, error) { return c.n, nil })
	return nil
}

func (c *tally) Handle(*Message) error             { c.n++; c.handled <- c.n; return nil }
func (c *tally) Flush() error                      { return nil }
func (c *tally) Tick(time.Time) (time.Time, error) { return time.Time{}, nil }
func (c *tally) Commit() ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, c.n), nil
}
func (c *tally) Snapshot() ([]byte, error) { return binary.BigEndian.AppendUint64(nil, c.n), nil }

var countQuestion = Question[None, uint64]{Role: "tally", Kind: "count", Fresh: true}

type bench struct {
	srv *testnats.Server
	env Env
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s := testnats.Start(t)
	nc := s.Connect(t)
	js, err := JetStream(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), js, Layout{Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	return &bench{s, Env{NC: nc, JS: js, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now, CommitEvery: 10 * time.Millisecond}}
}

func (b *bench) asker() Asker { return Asker{NC: b.env.NC, Names: b.env.Names} }

var accountInput = Spec{Role: "tally", Inputs: []Input{{Stream: events.StreamAccount, Filters: []string{"account.0"}}}}

func (b *bench) publish(t *testing.T, n int) {
	t.Helper()
	for range n {
		if _, err := b.env.JS.Publish(t.Context(), "account.0", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bench) open(t *testing.T, p Processor) *Log {
	t.Helper()
	l, err := OpenLog(t.Context(), b.env.JS, "STATE", "state.tally.0.log", "state.tally.0.snap", p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func at(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func TestLogKeepsCommitsAcrossOwners(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.open(t, newTally())
	for i := range uint64(5) {
		big := append(at(i+1), make([]byte, int(i)*300<<10)...) // up to three parts
		if err := l.Commit(t.Context(), []Position{{Seq: i}}, big); err != nil {
			t.Fatal(err)
		}
	}
	c := newTally()
	l2 := b.open(t, c)
	if c.n != 5 || l2.Positions()[0].Seq != 4 || l2.Epoch() != l.Epoch()+1 {
		t.Fatalf("restored %d at %v in epoch %d after %d", c.n, l2.Positions(), l2.Epoch(), l.Epoch())
	}
	if err := l.Commit(t.Context(), nil, at(99)); !errors.Is(err, ErrFenced) {
		t.Fatalf("a stale owner's commit: %v, want ErrFenced", err)
	}
	if err := l2.Commit(t.Context(), []Position{{Seq: 9}}, at(6)); err != nil {
		t.Fatal(err)
	}
}

func TestLogIgnoresCommitWithoutItsLastPart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.open(t, newTally())
	if err := l.Commit(t.Context(), nil, at(1)); err != nil {
		t.Fatal(err)
	}
	torn := l.record(kindCommit, func(m *meta) { m.Number++ })
	if _, err := l.publish(t.Context(), torn, at(2)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also with the torn record behind an epoch
		c := newTally()
		l = b.open(t, c)
		if c.n != 1 {
			t.Fatalf("restored %d, want 1", c.n)
		}
	}
	if err := l.Commit(t.Context(), nil, at(3)); err != nil {
		t.Fatal(err)
	}
	c := newTally()
	b.open(t, c)
	if c.n != 3 {
		t.Fatalf("restored %d, want 3", c.n)
	}
}

func TestLogFindsItsOwnRecordWhenTheAnswerWasLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.open(t, newTally())
	m := l.record(kindCommit, func(m *meta) { m.Number++; m.Last = true })
	seq, err := l.publish(t.Context(), m, at(7))
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.publish(t.Context(), m, at(7)) // l.last has not moved, as if the answer never came
	if err != nil || again != seq {
		t.Fatalf("repeat: %d, %v; want %d", again, err, seq)
	}
}

func TestSnapshotsReplaceTheLogBelowThePreviousOne(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.open(t, newTally())
	n := uint64(0)
	for range 3 {
		for range 4 {
			n++
			if err := l.Commit(t.Context(), []Position{{Seq: n}}, at(n)); err != nil {
				t.Fatal(err)
			}
		}
		s := l.BeginSnapshot(at(n))
		n++ // a commit while the parts are being written
		if err := l.Commit(t.Context(), []Position{{Seq: n}}, at(n)); err != nil {
			t.Fatal(err)
		}
		if err := l.WriteParts(t.Context(), s, at(n-1)); err != nil {
			t.Fatal(err)
		}
		if err := l.FinishSnapshot(t.Context(), s, time.Now()); err != nil {
			t.Fatal(err)
		}
		c := newTally()
		l = b.open(t, c)
		if c.n != n || l.Positions()[0].Seq != n {
			t.Fatalf("restored %d at %v, want %d", c.n, l.Positions(), n)
		}
	}
	str, _ := b.env.JS.Stream(t.Context(), "STATE")
	info, err := str.Info(t.Context(), jetstream.WithSubjectFilter("state.tally.0.>"))
	if err != nil {
		t.Fatal(err)
	}
	if logged := info.State.Subjects["state.tally.0.log"]; logged > 16 {
		t.Errorf("the log still has %d records", logged)
	}
	if len(info.State.Subjects) != 3 { // the log and two generations
		t.Errorf("subjects: %v", info.State.Subjects)
	}
}

// start runs the partition until stop is called.
func (b *bench) start(t *testing.T, p Processor) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- Run(ctx, b.env, accountInput, p, nil, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return func() error { cancel(); return <-done }
}

func TestRunGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for round := range uint64(3) {
		b.publish(t, 10)
		c := newTally()
		stop := b.start(t, c)
		for <-c.handled != (round+1)*10 {
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFreshQueryWaitsForWhatWasStored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := newTally()
	stop := b.start(t, c)
	defer func() { _ = stop() }()
	for i := 1; i <= 20; i++ {
		b.publish(t, 5)
		n, err := countQuestion.Ask(t.Context(), b.asker(), 0, None{})
		if err != nil || n != uint64(5*i) {
			t.Fatalf("answer %d, %v, want %d", n, err, 5*i)
		}
	}
}

func TestANewOwnerStopsTheOldOne(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := newTally()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- Run(ctx, b.env, accountInput, old, nil, func() { close(ready) }) }()
	<-ready
	stop := b.start(t, newTally())
	defer func() { _ = stop() }()
	b.publish(t, 1) // the old one handles it too, and cannot commit it
	if err := <-done; !errors.Is(err, ErrFenced) {
		t.Fatalf("old owner ended with %v, want ErrFenced", err)
	}
}

func TestLeaseHasOneHolder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	kv, err := b.env.JS.KeyValue(t.Context(), "owners")
	if err != nil {
		t.Fatal(err)
	}
	first, err := Acquire(t.Context(), b.env.JS, kv, "tally.0", "a", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Lease, 1)
	go func() {
		l, _ := Acquire(context.Background(), b.env.JS, kv, "tally.0", "b", time.Second)
		got <- l
	}()
	select { // for longer than it would live without renewal
	case <-got:
		t.Fatal("two holders")
	case <-first.Lost():
		t.Fatal("lost without a rival")
	case <-time.After(1500 * time.Millisecond):
	}
	first.Release(t.Context())
	second := <-got
	select {
	case <-second.Lost():
		t.Fatal("lost at once")
	default:
	}
	// Whoever takes the key by force makes the holder notice.
	if _, err := kv.Put(t.Context(), "tally.0", []byte("c")); err != nil {
		t.Fatal(err)
	}
	<-second.Lost()
	second.Release(t.Context())
}

func TestReadingGoesOnAfterTheBrokerCameBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := newTally()
	stop := b.start(t, c)
	b.publish(t, 1)
	<-c.handled
	begin := time.Now()
	b.srv.Restart(t)
	b.publishPatiently(t)
	for <-c.handled < 2 {
	}
	t.Logf("handled %s after the restart began", time.Since(begin))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) publishPatiently(t *testing.T) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := b.env.JS.Publish(ctx, "account.0", []byte("x"))
		cancel()
		if err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}
