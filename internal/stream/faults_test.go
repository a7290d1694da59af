package stream

import (
	"context"
	"errors"
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
	b := newBench(t)
	b.env.CommitEvery = time.Hour
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
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("stopped after %s", d)
	}
}

// TestAMessageThatNoServerTakesStopsThePartition: it would be tried for ever,
// and nobody would know why nothing goes on.
func TestAMessageThatNoServerTakesStopsThePartition(t *testing.T) {
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
	b := newBench(t)
	l := b.open(t, newTally())
	m := l.record(kindCommit, func(m *meta) { m.Number++; m.Last = true })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := l.publish(ctx, m, make([]byte, 2<<20)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("got %v", err)
	}
}
