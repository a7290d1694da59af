package enforcer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/plan"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/testnats"
	"github.com/tidegate-io/tidegate/internal/window"
	"github.com/tidegate-io/tidegate/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type memory struct {
	mu   sync.Mutex
	docs map[string]events.Customer
}

func (s *memory) WriteCustomers(_ context.Context, docs []events.Customer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range docs {
		s.docs[d.ID] = d
	}
	return nil
}

type bench struct {
	env   stream.Env
	kv    jetstream.KeyValue
	store *memory
	cat   atomic.Pointer[plan.Catalog]
	now   atomic.Pointer[time.Time] // nil: the clock
	pos   uint64
}

func catalog() *plan.Catalog {
	return &plan.Catalog{
		Plans: []plan.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}},
		Gates: []plan.Gate{
			{Feature: "api", Meter: plan.Meter{Event: "api", Aggregate: plan.Count}, Message: "Upgrade.", WarnAt: []int{80},
				Limits: map[string]plan.Limit{"free": {Value: events.Count(10)}, "pro": {Unlimited: true}},
				Window: window.Spec{Kind: window.Anniversary, Days: 30}},
			{Feature: "tokens", Meter: plan.Meter{Event: "tokens", Aggregate: plan.Sum},
				Limits: map[string]plan.Limit{"free": {Value: events.Count(100)}, "pro": {Unlimited: true}},
				Window: window.Spec{Kind: window.Rolling, Days: 7}},
			{Feature: "export", Limits: map[string]plan.Limit{"free": {None: true}}, Window: window.Spec{Kind: window.Calendar, Month: true}},
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
	b := &bench{store: &memory{docs: map[string]events.Customer{}}}
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
		p := New(Options{Partitions: 1, Store: b.store, Catalog: b.cat.Load, Now: b.clock})
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

func (b *bench) total(t testing.TB, w events.WindowTotal) {
	t.Helper()
	b.pos++
	w.Generation, w.Position, w.StoredAt = 1, b.pos, time.Now().UTC()
	data, err := wire.Totals([]events.WindowTotal{w})
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, "windows.0", data)
}

func (b *bench) account(t testing.TB, a events.Account) {
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
func (b *bench) fresh(t testing.TB, customer string) (events.Customer, map[string]events.Decision) {
	t.Helper()
	m := nats.NewMsg("query.enforcer.0")
	m.Header.Set(stream.FreshHeader, "1")
	m.Data, _ = json.Marshal(map[string]string{"customer": customer})
	reply, err := b.env.NC.RequestMsg(m, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Customer  events.Customer
		Decisions []events.Decision
	}
	if err := json.Unmarshal(reply.Data, &a); err != nil {
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
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

func (b *bench) limits(t testing.TB) (ls []events.Limit) {
	t.Helper()
	err := stream.Read(context.Background(), b.env.JS, b.env.Names, stream.Input{Stream: events.StreamLimits, Filter: "limits.0"}, ^uint64(0), func(m *stream.Message) error {
		var l events.Limit
		err := json.Unmarshal(m.Data, &l)
		ls = append(ls, l)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

func blocked(d events.Decision) bool { return !d.Allowed }
func allowed(d events.Decision) bool { return d.Allowed }

// windowStart is the same for all windows of a test run: two that differ by a
// second would both contain now.
var windowStart = time.Now().UTC().Truncate(time.Second).Add(-time.Hour)

func openWindow(used int64) events.WindowTotal {
	return events.WindowTotal{Customer: "acme", Feature: "api", Start: windowStart, End: windowStart.AddDate(0, 0, 30), Used: events.Count(used)}
}

func TestLimitReachedBlocksAndIsReportedOnce(t *testing.T) {
	b := newBench(t)
	b.run(t)
	w := openWindow(1)
	b.total(t, w)
	b.fresh(t, "acme")
	if _, err := b.kv.Get(t.Context(), "acme.api"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Fatalf("far from the limit there is a key: %v", err)
	}
	for _, n := range []int64{8, 9, 10, 11, 10} { // 10 after 11 comes with a newer position, as an adjustment would
		w.Used = events.Count(n)
		b.total(t, w)
		b.fresh(t, "acme")
	}
	d := b.bucket(t, "acme.api", blocked)
	if d.Reason != events.LimitReached || d.Message != "Upgrade." || d.UnblocksAt == nil || !d.UnblocksAt.Equal(w.End) || d.Remaining.Sign() != 0 {
		t.Errorf("decision %+v", d)
	}
	ls := b.limits(t)
	if len(ls) != 2 || ls[0].Kind != events.LimitKindThreshold || ls[0].Percent != 80 || ls[1].Kind != events.LimitKindReached || ls[1].Silent {
		t.Errorf("limits %+v", ls)
	}
}

func TestAnOlderTotalChangesNothing(t *testing.T) {
	b := newBench(t)
	b.run(t)
	w := openWindow(10)
	b.pos = 5
	b.total(t, w)
	b.bucket(t, "acme.api", blocked)
	b.pos = 0 // a new owner of the aggregator tells again
	w.Used = events.Count(3)
	b.total(t, w)
	if _, ds := b.fresh(t, "acme"); ds["api"].Allowed {
		t.Error("an old total unblocked")
	}
}

func TestAPlanUnblocksAtOnceAndADowngradeBeginsANewWindow(t *testing.T) {
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	first := b.bucket(t, "acme.api", blocked)
	b.account(t, events.Account{Customer: "acme", Subscription: &events.PlanState{Plan: "pro", Status: "active", Paid: true, Position: 1}})
	d := b.bucket(t, "acme.api", allowed)
	if d.Reason != events.Unlimited || d.Plan != "pro" || d.Position <= first.Position {
		t.Errorf("decision %+v after %d", d, first.Position)
	}
	b.account(t, events.Account{Customer: "acme", Subscription: &events.PlanState{Status: "canceled", Position: 2}})
	b.account(t, events.Account{Customer: "acme", Subscription: &events.PlanState{Plan: "pro", Status: "active", Paid: true, Position: 1}}) // late
	if c, ds := b.fresh(t, "acme"); c.Plan != "free" || !ds["api"].Allowed || ds["api"].Used.Sign() != 0 {
		t.Errorf("after the downgrade: %s, %+v", c.Plan, ds["api"])
	}
	for _, l := range b.limits(t) {
		if l.Kind == events.LimitKindReached && l.Plan != "free" {
			t.Errorf("limit %+v", l)
		}
	}
}

func TestOverridesPinsAndPlansWithoutTheFeature(t *testing.T) {
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	limit := events.Count(50)
	b.account(t, events.Account{Customer: "acme", Overrides: map[string]*events.Override{"api": {Limit: &limit}}})
	if d := b.bucket(t, "acme.api", allowed); d.Reason != events.Overridden || d.Remaining != events.Some(events.Count(40)) {
		t.Errorf("override: %+v", d)
	}
	b.account(t, events.Account{Customer: "acme", Overrides: map[string]*events.Override{"api": nil}})
	b.bucket(t, "acme.api", blocked)
	grant := events.Count(5)
	b.account(t, events.Account{Customer: "acme", Overrides: map[string]*events.Override{"api": {Grant: &grant}}})
	if d := b.bucket(t, "acme.api", allowed); d.Limit != events.Some(events.Count(15)) {
		t.Errorf("grant: %+v", d)
	}
	_, ds := b.fresh(t, "acme")
	if d := ds["export"]; d.Allowed || d.Reason != events.NotInPlan {
		t.Errorf("not in plan: %+v", d)
	}
	b.account(t, events.Account{Customer: "acme", Plan: &events.PlanPin{Name: "pro"}})
	if c, ds := b.fresh(t, "acme"); c.Plan != "pro" || ds["export"].Reason != events.Unlimited {
		t.Errorf("pinned: %s %+v", c.Plan, ds["export"])
	}
}

func TestAWindowThatEndsUnblocksAlsoAfterARestart(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart=", restart), func(t *testing.T) {
			b := newBench(t)
			stop, _ := b.run(t)
			w := openWindow(10)
			w.End = time.Now().UTC().Add(700 * time.Millisecond)
			b.total(t, w)
			b.bucket(t, "acme.api", blocked)
			if restart {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				later := w.End.Add(time.Hour) // it ended while nobody was there
				b.now.Store(&later)
				b.run(t)
			}
			if d := b.bucket(t, "acme.api", allowed); d.Position>>32 == 0 {
				t.Errorf("decision %+v", d)
			}
		})
	}
}

func TestARollingWindowUnblocksWhenABucketFallsOut(t *testing.T) {
	b := newBench(t)
	b.run(t)
	now := time.Now().UTC()
	old := now.Add(-7 * 24 * time.Hour).Truncate(time.Hour) // falls out within the hour
	w := events.WindowTotal{Customer: "acme", Feature: "tokens", Buckets: []events.Bucket{
		{Start: old, Used: events.Count(60)}, {Start: now.Truncate(time.Hour), Used: events.Count(50)}}}
	b.total(t, w)
	d := b.bucket(t, "acme.tokens", blocked)
	out := old.Add(7*24*time.Hour + time.Hour)
	if d.UnblocksAt == nil || !d.UnblocksAt.Equal(out) || d.Used != events.Some(events.Count(110)) {
		t.Fatalf("decision %+v, want it to end at %s", d, out)
	}
	b.now.Store(&out)
	b.account(t, events.Account{Customer: "other"}) // wakes the loop, which looks at its clock
	if d := b.bucket(t, "acme.tokens", allowed); d.Used != events.Some(events.Count(50)) {
		t.Errorf("decision %+v", d)
	}
}

func TestGatesAreThereAndCanBeSwitched(t *testing.T) {
	b := newBench(t)
	stop, _ := b.run(t)
	gates := func(want func(events.Gates) bool) {
		t.Helper()
		b.watch(t, events.GatesKey, func(value []byte) bool {
			var g events.Gates
			if err := json.Unmarshal(value, &g); err != nil {
				t.Fatal(err)
			}
			return want(g)
		})
	}
	gates(func(g events.Gates) bool {
		return g.Partitions == 1 && g.DefaultPlan == "free" && len(g.Gates) == 3 && g.Gates[0].Limit == events.Some(events.Count(10)) && !g.Gates[2].InPlan
	})
	b.account(t, events.Account{Gate: &events.GateSwitch{Feature: "api", Off: true}})
	b.fresh(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.run(t)
	b.account(t, events.Account{Gate: &events.GateSwitch{Feature: "tokens", Off: true}}) // the first one is not forgotten
	gates(func(g events.Gates) bool { return g.Gates[0].Off && g.Gates[1].Off })
}

func TestAStaleOwnerIsFencedInTheBucket(t *testing.T) {
	b := newBench(t)
	_, old := b.run(t)
	b.run(t)
	b.total(t, openWindow(10))
	if err := <-old; !errors.Is(err, stream.ErrFenced) {
		t.Fatalf("stale owner: %v", err)
	}
	if d := b.bucket(t, "acme.api", blocked); d.Position>>32 != 2 {
		t.Errorf("decided in epoch %d, want 2", d.Position>>32)
	}
}

func TestGarbageGoesToTheDeadLetters(t *testing.T) {
	b := newBench(t)
	b.run(t)
	b.publish(t, "windows.0", []byte("?"))
	b.publish(t, "account.0", []byte("{"))
	b.account(t, events.Account{})
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	b.fresh(t, "acme") // both inputs are read, the letters are on their way
	deadline := time.After(10 * time.Second)
	for n := 0; n != 3; {
		select {
		case <-deadline:
			t.Fatalf("%d dead letters, want 3", n)
		case <-time.After(5 * time.Millisecond):
		}
		n = 0
		err := stream.Read(t.Context(), b.env.JS, b.env.Names, stream.Input{Stream: events.StreamDead, Filter: "dead.0"}, ^uint64(0), func(*stream.Message) error {
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestARemovedGateWithdrawsItsDecisions(t *testing.T) {
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	next := catalog()
	next.Gates = next.Gates[1:]
	b.cat.Store(next)
	w, err := b.kv.Watch(t.Context(), "acme.api")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	for e := range w.Updates() {
		if e != nil && e.Operation() == jetstream.KeyValueDelete {
			return
		}
	}
}
