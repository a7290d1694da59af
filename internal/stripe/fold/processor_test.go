package fold

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryStore is a store in memory. It returns errors while refuse is set.
type memoryStore struct {
	mu      sync.Mutex
	docs    map[string]records.Subscription
	refuse  bool
	refused chan struct{}
	wrote   chan records.Subscription
}

func newMemoryStore() *memoryStore {
	return &memoryStore{docs: map[string]records.Subscription{}, refused: make(chan struct{}, 100), wrote: make(chan records.Subscription, 100)}
}

func (s *memoryStore) WriteSubscriptions(_ context.Context, docs []records.Subscription) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		s.refused <- struct{}{}
		return errors.New("store is away")
	}
	for _, d := range docs {
		s.docs[d.Customer] = d
		s.wrote <- d
	}
	return nil
}

func (s *memoryStore) setRefuse(v bool) { s.mu.Lock(); s.refuse = v; s.mu.Unlock() }

// await returns the next value or fails.
func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came in 20 s")
		panic("unreachable")
	}
}

// fixture is a NATS server with a processor's streams and the messages that it
// publishes.
type fixture struct {
	env      stream.Env
	names    events.Names
	accounts chan records.Account
	dead     chan records.Dead
}

const testPartitions = 2

func newFixture(t *testing.T) *fixture {
	t.Helper()
	names := events.Names{Namespace: "acme"}
	srv := testnats.Start(t)
	nc := srv.Connect(t)
	js, err := stream.JetStream(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Ensure(t.Context(), js, stream.Layout{Names: names, Partitions: testPartitions}); err != nil {
		t.Fatal(err)
	}
	p := &fixture{
		env: stream.Env{NC: nc, JS: js, Names: names, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now,
			CommitEvery: 5 * time.Millisecond},
		names: names, accounts: make(chan records.Account, 100), dead: make(chan records.Dead, 100),
	}
	listen(t, nc, names.Subject("account.*"), p.accounts)
	listen(t, nc, names.Dead(0), p.dead)
	return p
}

func listen[T any](t *testing.T, nc *nats.Conn, subject string, out chan T) {
	t.Helper()
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
		var v T
		if err := json.Unmarshal(m.Data, &v); err != nil {
			t.Error(err)
		}
		out <- v
	}); err != nil {
		t.Fatal(err)
	}
}

// run starts an owner; stop ends it and waits for it.
func (p *fixture) run(t *testing.T, store Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sup := stream.NewSupervisor(p.env)
	sup.Go(ctx, stream.Spec{Role: stream.RoleBilling, Inputs: []stream.Input{Input(p.names)}}, func() stream.Processor {
		return NewProcessor(testConfig(), testPartitions, store)
	})
	stop = sync.OnceFunc(func() { cancel(); sup.Wait() })
	t.Cleanup(stop)
	return stop
}

func (p *fixture) put(t *testing.T, kind Kind, body []byte) {
	t.Helper()
	if _, err := p.env.JS.Publish(t.Context(), p.names.Billing(string(kind)), body); err != nil {
		t.Fatal(err)
	}
}

func ask[Req, Resp any](t *testing.T, p *fixture, q stream.Question[Req, Resp], req Req) Resp {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := q.Ask(ctx, stream.Asker{NC: p.env.NC, Names: p.names, Patience: 10 * time.Second}, 0, req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func devUpgrade(customer string, now time.Time) Upgrade {
	cfg := testConfig()
	price, _ := cfg.Plans.PriceOf("pro")
	return Upgrade{Customer: customer, Price: price, Now: now}
}

func TestProcessorAcrossOwners(t *testing.T) {
	t.Parallel()
	p, store := newFixture(t), newMemoryStore()
	stop := p.run(t, store)
	now := time.Now()
	for _, w := range UpgradeEvents(devUpgrade("a@b.c", now)) {
		p.put(t, KindStripe, w.Payload)
	}
	var paid, converted bool
	for !paid || !converted {
		a := await(t, p.accounts)
		if a.Customer != "a@b.c" {
			t.Fatalf("account %+v", a)
		}
		paid = paid || a.Subscription != nil && a.Subscription.Plan == "pro" && a.Subscription.Paid
		converted = converted || a.Payment != nil && a.Payment.ToPlan == "pro" && a.Payment.FromPlan == "free"
	}
	if a := ask(t, p, SubscriptionQuestion, "a@b.c"); a.Subscription == nil || a.Subscription.Plan != "pro" || len(a.Payments) != 1 {
		t.Fatalf("answer %+v", a)
	}
	for await(t, store.wrote).Plan != "pro" {
	}

	stop()
	p.run(t, store)
	for _, w := range DowngradeEvents(devUpgrade("a@b.c", now)) { // within the same second
		p.put(t, KindStripe, w.Payload)
	}
	for await(t, store.wrote).Status != "canceled" {
	}
	for {
		if a := await(t, p.accounts); a.Subscription != nil && a.Subscription.Status == "canceled" {
			break
		}
	}
	if a := ask(t, p, SubscriptionQuestion, "a@b.c"); a.Subscription.Plan != "free" || len(a.Payments) != 1 {
		t.Fatalf("answer %+v", a)
	}
}

func TestProcessorRejectsGarbageAndContinues(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.run(t, newMemoryStore())
	p.put(t, KindStripe, []byte("not json"))
	p.put(t, "odd", []byte("{}"))
	p.put(t, KindStripe, []byte("{}"))
	sh := newShop("cus_1", "").create("sub_1", "price_x", "active")
	p.put(t, KindStripe, sh.evs[0])
	for _, origin := range []string{"BILLING/1/0", "BILLING/2/0"} {
		if d := await(t, p.dead); d.Origin != origin || d.Reason == "" || len(d.Body) == 0 || d.At.IsZero() {
			t.Errorf("dead letter %+v, want %s", d, origin)
		}
	}
	if r := ask(t, p, ReportQuestion, Page{Limit: 1}); len(r.Customers) != 1 || r.Customers[0].StripeCustomer != "cus_1" {
		t.Errorf("report %+v", r)
	}
	body, _ := json.Marshal(Mapping{Customer: "acme", StripeCustomer: "cus_1"})
	p.put(t, KindMap, body)
	if r := ask(t, p, ReportQuestion, Page{}); len(r.Customers) != 0 || len(r.Prices) != 1 || r.Prices[0].Price != "price_x" {
		t.Errorf("unknown prices %+v", r)
	}
	if a := ask(t, p, SubscriptionQuestion, "nobody"); a.Subscription != nil {
		t.Errorf("nobody: %+v", a)
	}
}

// TestACrashLeavesOneDeadLetter: the next owner reads a record again that the
// last one rejected and did not commit.
func TestACrashLeavesOneDeadLetter(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.put(t, KindStripe, []byte("not json"))
	env := p.env
	env.CommitEvery = time.Hour
	lost, end := make(chan struct{}), make(chan error, 1)
	spec := stream.Spec{Role: stream.RoleBilling, Inputs: []stream.Input{Input(p.names)}}
	go func() {
		end <- stream.Run(t.Context(), env, spec, NewProcessor(testConfig(), testPartitions, newMemoryStore()), lost, func() {})
	}()
	await(t, p.dead)
	close(lost)
	if err := <-end; !errors.Is(err, stream.ErrLost) {
		t.Fatal(err)
	}
	stop := p.run(t, newMemoryStore())
	ask(t, p, SubscriptionQuestion, "acme")
	stop() // commits
	s, err := p.env.JS.Stream(t.Context(), p.names.Stream(events.StreamDead))
	if err != nil || s.CachedInfo().State.Msgs != 1 {
		t.Fatalf("%d dead letters of 1 record, %v", s.CachedInfo().State.Msgs, err)
	}
}

// outbox keeps what a processor publishes.
type outbox struct{ msgs []*nats.Msg }

func (o *outbox) Publish(m *nats.Msg, _ ...jetstream.PublishOpt) error {
	o.msgs = append(o.msgs, m)
	return nil
}

// TestNewOwnerWritesDocumentsOfTheOldOne runs without a network, so that it can
// choose when the store fails.
func TestNewOwnerWritesDocumentsOfTheOldOne(t *testing.T) {
	t.Parallel()
	store, out := newMemoryStore(), &outbox{}
	log := slog.New(slog.DiscardHandler)
	owner := func(commits ...[]byte) (*Processor, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		p := NewProcessor(testConfig(), testPartitions, store)
		if err := p.Restore(nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range commits {
			if err := p.Apply(c); err != nil {
				t.Fatal(err)
			}
		}
		p.start(ctx, events.Names{}, log, out)
		return p, func() { cancel(); <-p.done }
	}
	handle := func(p *Processor, seq uint64, customer string) {
		for _, w := range UpgradeEvents(devUpgrade(customer, t0)) {
			if err := p.Handle(&stream.Message{Subject: "billing.stripe", Data: w.Payload, Seq: seq, Time: t0}); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit := func(p *Processor) []byte {
		b, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}

	p, stop := owner()
	handle(p, 1, "first")
	for await(t, store.wrote).Plan != "pro" {
	}
	store.setRefuse(true)
	handle(p, 2, "second")
	await(t, store.refused)
	c := commit(p)
	if again := commit(p); again != nil {
		t.Errorf("a commit of nothing has %d bytes", len(again))
	}
	stop()

	store.setRefuse(false)
	clear(store.docs)
	_, stop = owner(c)
	for await(t, store.wrote).Customer != "second" {
	}
	stop()
	if store.docs["second"].Plan != "pro" {
		t.Errorf("documents %+v", store.docs)
	}
}

func TestProcessorTicksGraceAndConfiguration(t *testing.T) {
	t.Parallel()
	out := &outbox{}
	ctx, cancel := context.WithCancel(t.Context())
	p := NewProcessor(testConfig(), testPartitions, newMemoryStore())
	if err := p.Restore(nil); err != nil {
		t.Fatal(err)
	}
	p.start(ctx, events.Names{}, slog.New(slog.DiscardHandler), out)
	defer func() { cancel(); <-p.done }()
	sh := newShop("cus_1", "acme").buy("sub_1", "price_pro").wait(time.Hour).update("sub_1", fields{"status": "past_due"})
	for i, b := range sh.evs {
		if err := p.Handle(&stream.Message{Subject: "billing.stripe", Data: b, Seq: uint64(i + 1), Time: sh.at}); err != nil {
			t.Fatal(err)
		}
	}
	last := func() records.PlanState {
		t.Helper()
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		m := out.msgs[len(out.msgs)-1]
		if want := (events.Names{}).Account(events.PartitionOf("acme", testPartitions)); m.Subject != want {
			t.Fatalf("subject %s, want %s", m.Subject, want)
		}
		var a records.Account
		if err := json.Unmarshal(m.Data, &a); err != nil || a.Subscription == nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
		return *a.Subscription
	}
	next, err := p.Tick(sh.at)
	if err != nil || !next.Equal(sh.at.Add(DefaultGrace)) {
		t.Fatalf("next tick %s, %v", next, err)
	}
	if st := last(); !st.Paid || st.Status != "past_due" {
		t.Errorf("in grace: %+v", st)
	}
	if next, err = p.Tick(next); err != nil || !next.IsZero() {
		t.Fatalf("next tick %s, %v", next, err)
	}
	if st := last(); st.Paid {
		t.Errorf("after it: %+v", st)
	}
	cfg := testConfig()
	cfg.Grace = 90 * 24 * time.Hour
	p.Configure(cfg)
	if _, err = p.Tick(sh.at.Add(DefaultGrace + time.Hour)); err != nil {
		t.Fatal(err)
	}
	if st := last(); !st.Paid {
		t.Errorf("with a longer grace: %+v", st)
	}
}

// TestTimersSurviveRestart: a new owner derives the timers from the commits.
func TestTimersSurviveRestart(t *testing.T) {
	t.Parallel()
	grace := newShop("cus_1", "acme").buy("sub_1", "price_pro").wait(time.Hour).update("sub_1", fields{"status": "past_due"})
	ending := newShop("cus_2", "globex").buy("sub_2", "price_pro").update("sub_2", fields{"cancel_at_period_end": true})
	p, stop := startOffline(t, slog.New(slog.DiscardHandler))
	feed(t, p, grace, ending)
	commit, err := p.Commit()
	if err != nil {
		t.Fatal(err)
	}
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	out := &outbox{}
	p = NewProcessor(testConfig(), testPartitions, newMemoryStore())
	if err := errors.Join(p.Restore(nil), p.Apply(commit)); err != nil {
		t.Fatal(err)
	}
	p.start(ctx, events.Names{}, slog.New(slog.DiscardHandler), out)
	defer func() { cancel(); <-p.done }()
	for _, want := range []struct {
		customer string
		at       time.Time
	}{{"acme", grace.at.Add(DefaultGrace)}, {"globex", t0.AddDate(0, 1, 0)}} {
		next, err := p.Tick(want.at.Add(-time.Second))
		if err != nil || !next.Equal(want.at) {
			t.Fatalf("the next timer is %s, want %s: %v", next, want.at, err)
		}
		if _, err = p.Tick(next); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		var a records.Account
		if err := json.Unmarshal(out.msgs[len(out.msgs)-1].Data, &a); err != nil || a.Customer != want.customer || a.Subscription == nil || a.Subscription.Paid {
			t.Errorf("%s: %+v, %v", want.customer, a, err)
		}
	}
}
