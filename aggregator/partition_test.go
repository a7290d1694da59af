package aggregator

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) {
	testnats.RapidChecks(30) // each of a script, or of a server with several owners
	testnats.Main(m)
}

// memoryStore is a Store in memory.
type memoryStore struct {
	mu   sync.Mutex
	docs map[string]records.Window
	down bool
}

func (s *memoryStore) WriteUsage(_ context.Context, docs []records.Window) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("store is down")
	}
	for _, d := range docs {
		old, ok := s.docs[d.ID()]
		if !ok || old.Epoch < d.Epoch || old.Epoch == d.Epoch && old.Seq <= d.Seq {
			s.docs[d.ID()] = d
		}
	}
	return nil
}

func (s *memoryStore) all() map[string]records.Window {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.docs)
}

// testPartition is a partition on an embedded server.
type testPartition struct {
	env        stream.Env
	srv        *testnats.Server
	store      *memoryStore
	catalog    atomic.Pointer[gate.Catalog]
	sizes      fingerprint.Sizes // of SEEN
	keepMerged time.Duration
}

func catalog() *gate.Catalog {
	limits := map[string]gate.Limit{"free": {Value: events.Count(10)}, "paid": {Unlimited: true}}
	newGate := func(feature, event string, how gate.Aggregate, kind gate.WindowKind) gate.Gate {
		return gate.Gate{Feature: feature, Meter: gate.Meter{Event: event, Aggregate: how, Value: "n"}, Limits: limits,
			Window: gate.WindowSpec{Kind: kind, Days: 30}}
	}
	return &gate.Catalog{
		Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "paid", Paid: true}},
		Gates: []gate.Gate{
			newGate("api", "api", gate.Count, gate.Anniversary),
			newGate("tokens", "tokens", gate.Sum, gate.Rolling),
			newGate("peak", "tokens", gate.Max, gate.Calendar),
			newGate("seats", "login", gate.Unique, gate.Rolling),
		},
	}
}

func startPartition(t testing.TB) *testPartition {
	t.Helper()
	s := testnats.Start(t)
	nc := s.Connect(t)
	js, err := stream.JetStream(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Ensure(t.Context(), js, stream.Layout{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	b := &testPartition{srv: s, store: &memoryStore{docs: map[string]records.Window{}},
		env: stream.Env{NC: nc, JS: js, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now, CommitEvery: 5 * time.Millisecond}}
	b.catalog.Store(catalog())
	return b
}

func (b *testPartition) options() Options {
	return Options{Partitions: 1, Horizon: 32 * 24 * time.Hour, Store: b.store, Catalog: b.catalog.Load, Now: time.Now}
}

// run starts an owner of the partition, which runs until stop is called or js fails.
// done gets the owner's error.
func (b *testPartition) run(t testing.TB, js jetstream.JetStream) (stop func() error, done <-chan error) {
	t.Helper()
	env := b.env
	env.JS = js
	ctx, cancel := context.WithCancel(context.Background())
	end, ended, ready := make(chan error, 1), make(chan struct{}), make(chan struct{})
	lost := make(chan struct{})
	if f, ok := js.(*testnats.Faulty); ok {
		f.Crash = sync.OnceFunc(func() { close(lost) })
	}
	go func() {
		defer close(ended)
		p := New(b.options(), 0)
		p.archive, p.keepMerged = fingerprint.NewArchive(&p.store, b.sizes), b.keepMerged
		end <- stream.Run(ctx, env, Spec(env.Names, 0), p, lost, sync.OnceFunc(func() { close(ready) }))
	}()
	select {
	case <-ready:
	case err := <-end:
		end <- err
	}
	t.Cleanup(func() { cancel(); <-ended })
	return func() error { cancel(); return <-end }, end
}

// close stops the server, for tests that start many.
func (b *testPartition) close() {
	b.env.NC.Close()
	b.srv.Stop()
}

func (b *testPartition) publish(t testing.TB, subject string, data []byte) {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = data
	if _, err := b.env.JS.PublishMsg(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

// windows returns the windows of a customer by the id of their document. The owner
// answers after it has folded all messages stored before.
func (b *testPartition) windows(t testing.TB, customer string) map[string]records.Window {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, err := questions.UsageOf.Ask(ctx, stream.Asker{NC: b.env.NC}, 0, customer)
	if err != nil {
		t.Fatal(err)
	}
	ws := map[string]records.Window{}
	for _, w := range a.Windows {
		ws[w.ID()] = w
	}
	return ws
}

func (b *testPartition) verify(t testing.TB) Result {
	t.Helper()
	r := Replay{JS: b.env.JS, Partitions: 1, Horizon: 32 * 24 * time.Hour, Now: time.Now()}
	res, err := r.Verify(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (b *testPartition) deadLetters(t testing.TB) []records.Dead {
	t.Helper()
	var ds []records.Dead
	err := stream.Read(context.Background(), b.env.JS, events.Names{}, stream.Input{Stream: events.StreamDead, Filters: []string{"dead.0"}}, ^uint64(0), func(m *stream.Message) error {
		var d records.Dead
		if err := json.Unmarshal(m.Data, &d); err != nil {
			return err
		}
		ds = append(ds, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}
