package enforcer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
	"github.com/tidegate-io/tidegate/internal/wire"
)

func TestMain(m *testing.M) {
	testnats.RapidChecks(25) // each of which starts a server and up to six owners
	testnats.Main(m)
}

type memory struct {
	mu   sync.Mutex
	docs map[string]records.Customer
}

func (s *memory) WriteCustomers(_ context.Context, docs []records.Customer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range docs {
		s.docs[d.ID] = d
	}
	return nil
}

type bench struct {
	env     stream.Env
	kv      jetstream.KeyValue
	store   *memory
	cat     atomic.Pointer[gate.Catalog]
	now     atomic.Pointer[time.Time] // nil: the clock
	pos     uint64
	nats    *testnats.Server
	every   time.Duration // Options.ProbeEvery, and Options.CompareEvery unless that is set
	compare time.Duration // Options.CompareEvery

	repaired atomic.Int64
}

func catalog() *gate.Catalog {
	return &gate.Catalog{
		Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}},
		Gates: []gate.Gate{
			{Feature: "api", Meter: gate.Meter{Event: "api", Aggregate: gate.Count}, Message: "Upgrade.", WarnAt: []int{80},
				Limits: map[string]gate.Limit{"free": {Value: events.Count(10)}, "pro": {Unlimited: true}},
				Window: gate.WindowSpec{Kind: gate.Anniversary, Days: 30}},
			{Feature: "tokens", Meter: gate.Meter{Event: "tokens", Aggregate: gate.Sum},
				Limits: map[string]gate.Limit{"free": {Value: events.Count(100)}, "pro": {Unlimited: true}},
				Window: gate.WindowSpec{Kind: gate.Rolling, Days: 7}},
			{Feature: "export", Limits: map[string]gate.Limit{"free": {None: true}}, Window: gate.WindowSpec{Kind: gate.Calendar, Month: true}},
		},
	}
}

func newBench(t testing.TB) *bench {
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
	b := &bench{nats: s, store: &memory{docs: map[string]records.Customer{}}}
	b.env = stream.Env{NC: nc, JS: js, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: b.clock, CommitEvery: 5 * time.Millisecond}
	if b.kv, err = js.KeyValue(t.Context(), "decisions"); err != nil {
		t.Fatal(err)
	}
	b.cat.Store(catalog())
	return b
}

func (b *bench) clock() time.Time {
	if t := b.now.Load(); t != nil {
		return *t
	}
	return time.Now()
}

func (b *bench) run(t testing.TB) (stop func() error, end chan error) {
	t.Helper()
	stop, end, err := b.try(t, b.env.JS)
	if err != nil {
		t.Fatal(err)
	}
	return stop, end
}

// try is run on a JetStream that may fail.
func (b *bench) try(t testing.TB, js jetstream.JetStream) (stop func() error, end chan error, err error) {
	t.Helper()
	env, lost := b.env, make(chan struct{})
	env.JS = js
	if f, ok := js.(*testnats.Faulty); ok {
		f.Crash = sync.OnceFunc(func() { close(lost) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	end, ready, ended := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		p := New(Options{Partitions: 1, Store: b.store, Catalog: b.cat.Load, Now: b.clock, Link: upgradeAt,
			CompareEvery: cmp.Or(b.compare, b.every), ProbeEvery: b.every, Repaired: func(n int) { b.repaired.Add(int64(n)) }})
		end <- stream.Run(ctx, env, Spec(env.Names, 0), p, lost, func() { close(ready) })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-ready:
	case err = <-end:
		end <- err
	}
	return func() error { cancel(); return <-end }, end, err
}

func (b *bench) total(t testing.TB, w records.WindowTotal) {
	t.Helper()
	b.pos++
	w.Generation, w.Position, w.StoredAt = 1, b.pos, time.Now().UTC()
	data, err := wire.Totals([]records.WindowTotal{w})
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, "windows.0", data)
}

func (b *bench) account(t testing.TB, a records.Account) {
	t.Helper()
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, "account.0", data)
}

func (b *bench) publish(t testing.TB, subject string, data []byte) {
	t.Helper()
	if _, err := b.env.JS.Publish(context.Background(), subject, data); err != nil {
		t.Fatal(err)
	}
}

// fresh asks the owner once it has seen everything stored.
func (b *bench) fresh(t testing.TB, customer string) (records.Customer, map[string]events.Decision) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a, err := questions.StandingOf.Ask(ctx, stream.Asker{NC: b.env.NC}, 0, customer)
	if err != nil {
		t.Fatal(err)
	}
	ds := map[string]events.Decision{}
	for _, d := range a.Decisions {
		ds[d.Feature] = d
	}
	return a.Customer, ds
}

// bucket is the decision that apps see, once it is as wanted.
func (b *bench) bucket(t testing.TB, key string, want func(events.Decision) bool) (d events.Decision) {
	t.Helper()
	b.watch(t, key, func(value []byte) bool {
		d = events.Decision{}
		if err := json.Unmarshal(value, &d); err != nil {
			t.Fatal(err)
		}
		return want(d)
	})
	return d
}

func (b *bench) watch(t testing.TB, key string, want func([]byte) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := b.kv.Watch(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case e := <-w.Updates():
			if e != nil && e.Operation() == jetstream.KeyValuePut && want(e.Value()) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("%s never came to be as wanted", key)
		}
	}
}

func (b *bench) limits(t testing.TB) (ls []records.Limit) {
	t.Helper()
	err := stream.Read(context.Background(), b.env.JS, b.env.Names, stream.Input{Stream: events.StreamLimits, Filters: []string{"limits.0"}}, ^uint64(0), func(m *stream.Message) error {
		var l records.Limit
		err := json.Unmarshal(m.Data, &l)
		ls = append(ls, l)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// upgradeAt names what a link knows.
func upgradeAt(customer, feature string, windowStart, expires time.Time) string {
	return fmt.Sprintf("https://gate.example/u/%s/%s/%d/%d", customer, feature, windowStart.Unix(), expires.Unix())
}

func blocked(d events.Decision) bool { return !d.Allowed }
func allowed(d events.Decision) bool { return d.Allowed }

// windowStart is the same for all windows of a test run: two that differ by a
// second would both contain now.
var windowStart = time.Now().UTC().Truncate(time.Second).Add(-time.Hour)

func openWindow(used int64) records.WindowTotal {
	return records.WindowTotal{Customer: "acme", Feature: "api", Start: windowStart, End: windowStart.AddDate(0, 0, 30), Used: events.Count(used)}
}
