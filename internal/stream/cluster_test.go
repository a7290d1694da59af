package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// putter puts many guarded values for every message, as the enforcer does.
type putter struct {
	tally
	fence uint64
}

func (p *putter) Start(ctx context.Context, o *Owner) error {
	p.o = o
	kv, err := o.JS.KeyValue(ctx, "decisions")
	if err != nil {
		return err
	}
	p.fence, err = kv.Put(ctx, "=own.0", fmt.Append(nil, o.Epoch))
	return err
}

func (p *putter) Handle(m *Message) error {
	for i := range 50 {
		err := p.o.PublishFenced(&nats.Msg{Subject: fmt.Sprintf("$KV.decisions.c%d.api", i), Data: m.Data},
			Fence{Stream: "KV_decisions", Subject: "$KV.decisions.=own.0", Seq: p.fence})
		if err != nil {
			return err
		}
	}
	return p.tally.Handle(m)
}

// newClusterBench is a bench on three nodes, with three copies of each stream.
func newClusterBench(t *testing.T) (*testnats.Cluster, *bench) {
	t.Helper()
	c := testnats.StartCluster(t)
	nc := c.Connect(t)
	js, err := JetStream(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), js, Layout{Partitions: 1, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	return c, &bench{env: Env{NC: nc, JS: js, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now, CommitEvery: 20 * time.Millisecond}}
}

// TestReplicatedStreams runs an owner on three nodes, takes one away and lets a
// second owner fence the first.
func TestReplicatedStreams(t *testing.T) {
	t.Parallel()
	c, b := newClusterBench(t)
	first := &putter{tally: *newTally()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- Run(ctx, b.env, accountInput, first, nil, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	for range 20 {
		b.publishPatiently(t)
	}
	c.StopNode(0)
	for range 20 {
		b.publishPatiently(t)
	}
	c.StartNode(t, 0)
	waitCommitted(t, b, 40)
	second := &putter{tally: *newTally()}
	stop := b.start(t, second)
	b.publishPatiently(t)
	if err := <-done; !errors.Is(err, ErrFenced) {
		t.Fatalf("first owner: %v", err)
	}
	waitCommitted(t, b, 41)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func waitCommitted(t *testing.T, b *bench, seq uint64) {
	t.Helper()
	deadline := time.After(40 * time.Second)
	for {
		at, err := Committed(t.Context(), b.env.JS, events.Names{}, "tally", 0)
		if err == nil && len(at) > 0 && at[0].Seq >= seq {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("committed %v (%v), want %d", at, err, seq)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestReadingOutlivesANodeThatStaysAway takes the node away that the owner is
// connected to, until what is stored then has been handled: it may not depend
// on the node's return.
func TestReadingOutlivesANodeThatStaysAway(t *testing.T) {
	t.Parallel()
	c, b := newClusterBench(t)
	p := newTally()
	stop := b.start(t, p)
	for round := range 2 {
		lost := c.NodeOf(b.env.NC)
		c.StopNode(lost)
		b.publishPatiently(t)
		late := time.After(time.Minute)
		for handled := uint64(0); handled <= uint64(round); {
			select {
			case handled = <-p.handled:
			case <-late:
				t.Fatalf("round %d: not handled a minute after the loss of node %d", round, lost)
			}
		}
		c.StartNode(t, lost)
		c.WaitCurrent(t)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
