package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// waits is a processor whose Start waits for what never comes.
type waits struct {
	*tally
	started chan struct{}
}

func (w *waits) Start(ctx context.Context, _ *Owner) error {
	close(w.started)
	<-ctx.Done()
	return ctx.Err()
}

func TestStoppingDoesNotWaitForALoadThatHangs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	p, done := &waits{newTally(), make(chan struct{})}, make(chan error, 1)
	lost := make(chan struct{})
	go func() { done <- Run(ctx, b.env, accountInput, p, lost, func() {}) }()
	<-p.started
	cancel()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		close(lost)
		<-done
		t.Fatal("still there after 5 s")
	}
}

func TestStoppingDoesNotWaitForABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env.CommitEvery, b.env.stopTimeout = time.Hour, time.Second
	c := newTally()
	stop := b.start(t, c)
	b.publish(t, 1)
	<-c.handled
	b.srv.Stop()
	_ = c.o.Publish(&nats.Msg{Subject: "limits.0", Data: []byte("x")})
	begin := time.Now()
	if err := stop(); err == nil {
		t.Error("stopped as if it had committed")
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("stopped after %s", d)
	}
}

// TestAMessageThatNoServerTakesStopsThePartition: it would be tried for ever,
// and nobody would know why nothing goes on.
func TestAMessageThatNoServerTakesStopsThePartition(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := newTally()
	stop := b.start(t, c)
	defer func() { _ = stop() }()
	sent := make(chan error, 1)
	go func() { sent <- c.o.Publish(&nats.Msg{Subject: "limits.0", Data: make([]byte, 2<<20)}) }()
	select {
	case err := <-sent:
		if !errors.Is(err, nats.ErrMaxPayload) {
			t.Errorf("got %v", err)
		}
	case <-time.After(3 * time.Second):
		t.Error("still trying")
	}
}

// late is a JetStream whose first publish is lost, and whose second one, the
// repetition, comes late.
type late struct {
	jetstream.JetStream
	n         atomic.Int64
	repeating chan struct{}
	third     chan struct{}
}

func (l *late) PublishMsgAsync(m *nats.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	n := l.n.Add(1)
	switch n {
	case 1:
		return lostFuture{m}, nil
	case 2:
		close(l.repeating)
		select {
		case <-l.third:
		case <-time.After(300 * time.Millisecond):
		}
	case 3:
		defer close(l.third)
	}
	return l.JetStream.PublishMsgAsync(m, opts...)
}

type lostFuture struct{ m *nats.Msg }

func (f lostFuture) Ok() <-chan *jetstream.PubAck { return nil }
func (f lostFuture) Msg() *nats.Msg               { return f.m }
func (f lostFuture) Err() <-chan error {
	c := make(chan error, 1)
	c <- nats.ErrTimeout
	return c
}

func TestARepetitionNeverOvertakesANewerMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	js := &late{JetStream: b.env.JS, repeating: make(chan struct{}), third: make(chan struct{})}
	o := newOutbox(t.Context(), js, func(err error) { t.Error(err) })
	for i, text := range []string{"old", "new"} {
		if i == 1 {
			<-js.repeating
		}
		if err := o.publishFenced(&nats.Msg{Subject: "limits.0", Data: []byte(text)}, Fence{Stream: "LIMITS", Subject: "limits.1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.drain(); err != nil {
		t.Fatal(err)
	}
	s, err := b.env.JS.Stream(t.Context(), "LIMITS")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.GetLastMsgForSubject(t.Context(), "limits.0"); err != nil || string(m.Data) != "new" {
		t.Errorf("last is %s, %v", m.Data, err)
	}
}

func TestARecordThatNoServerTakesIsNoReasonToWait(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.open(t, newTally())
	m := l.record(kindCommit, func(m *meta) { m.Number++; m.Last = true })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := l.publish(ctx, m, make([]byte, 2<<20)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("got %v", err)
	}
}

// TestAFullStreamHoldsUpNothingElse: while a stream refuses messages, those to
// other streams are acknowledged. Only the commit waits.
func TestAFullStreamHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := newTally()
	stop := b.start(t, c)
	b.publish(t, 1)
	<-c.handled
	limit := func(bytes int64) {
		t.Helper()
		s, err := b.env.JS.Stream(t.Context(), "USAGE")
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.MaxBytes = bytes
		if _, err := b.env.JS.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	kv, err := b.env.JS.KeyValue(t.Context(), "decisions")
	if err != nil {
		t.Fatal(err)
	}
	fence, err := kv.Put(t.Context(), "=own.0", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	c.o.out.serial = true // as on replicated streams
	if err := c.o.Publish(&nats.Msg{Subject: "usage.p.0.~control", Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	put := make(chan error, 1)
	go func() {
		for i := range 3 {
			m := &nats.Msg{Subject: fmt.Sprintf("$KV.decisions.c%d.api", i), Data: []byte("x")}
			if err := c.o.PublishFenced(m, Fence{Stream: "KV_decisions", Subject: "$KV.decisions.=own.0", Seq: fence}); err != nil {
				put <- err
				return
			}
		}
		put <- nil
	}()
	select {
	case err := <-put:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("puts wait for a stream that is full")
	}
	limit(-1)
	b.publish(t, 1) // makes the stop commit, which waits for what was refused
	<-c.handled
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := c.o.Acked("USAGE"); n != 1 {
		t.Errorf("what was refused is at %d, not at 1", n)
	}
}
