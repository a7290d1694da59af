package notifier

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) { testnats.Main(m) }

// noon is when the tests begin; the sample window opened a day before.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// table is a bucket of decisions.
type table struct {
	mu      sync.Mutex
	rows    map[string]events.Decision
	spoiled string // key of a decision that cannot be read
}

func (d *table) Decision(_ context.Context, customer, feature string) (events.Decision, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if events.DecisionKey(customer, feature) == d.spoiled {
		return events.Decision{}, false, errUnreadable
	}
	x, ok := d.rows[events.DecisionKey(customer, feature)]
	return x, ok, nil
}

func (d *table) put(x events.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows[events.DecisionKey(x.Customer, x.Feature)] = x
}

// bench runs a notifier against a real HTTP server that speaks Resend's API.
type bench struct {
	t         *testing.T
	store     *memory
	decisions *table
	resend    *provider
	options   Options
	sender    *ResendSender
	p         *Processor
	stop      context.CancelFunc
	seq       uint64
	committed [][]byte // commits since the last snapshot
	snapshot  []byte
	reports   reports

	mu  sync.Mutex
	now time.Time
}

// reports notes what the notifier reports, by the key of the mail.
type reports struct {
	mu       sync.Mutex
	rejected map[string]int
}

func (r *reports) RejectDocument(_, id string, _ any, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rejected == nil {
		r.rejected = map[string]int{}
	}
	r.rejected[id]++
}

func (r *reports) Failed(string, error) {}

func (r *reports) of(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rejected[id]
}

func catalog() gate.Catalog {
	limits := func(free int64) map[string]gate.Limit {
		return map[string]gate.Limit{"free": {Value: events.Count(free)}, "pro": {Unlimited: true}}
	}
	return gate.Catalog{
		Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}},
		Gates: []gate.Gate{
			{Feature: "api", Limits: limits(100), Template: DefaultTemplate, Message: "The free calls are used up.", UpgradeURL: "https://acme.example/pricing"},
			{Feature: "exports", Limits: limits(5), Template: DefaultTemplate},
			{Feature: "warned", Limits: limits(100), Template: DefaultTemplate, WarnAt: []int{80}, Warnings: true},
			{Feature: "quiet", Limits: limits(5)},
		},
	}
}

func newBench(t *testing.T, change ...func(o *Options)) *bench {
	t.Helper()
	b := &bench{t: t, store: newMemory(), decisions: &table{rows: map[string]events.Decision{}}, resend: newProvider(t), now: noon}
	b.resend.now = b.clock
	sender, err := NewResendSender("re_test", b.resend.url)
	if err != nil {
		t.Fatal(err)
	}
	sender.throttle.bucket.SetLimit(rate.Inf)
	b.sender = sender
	t.Cleanup(sender.Close)
	b.options = Options{
		Partitions: 1, Catalog: catalog, Store: b.store, Decisions: b.decisions, Sender: sender, Now: b.clock,
		Settings: Settings{From: "Acme <billing@acme.example>", PublicURL: "https://gate.acme.example/"}, Secret: []byte("secret"),
		PollEvery: 5 * time.Millisecond,
	}
	for _, f := range change {
		f(&b.options)
	}
	b.start()
	t.Cleanup(func() { b.halt() })
	return b
}

// start runs a new processor from what was committed.
func (b *bench) start() {
	b.t.Helper()
	p, err := New(b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	b.must(p.Restore(b.snapshot))
	for _, c := range b.committed {
		b.must(p.Apply(c))
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.p, b.stop = p, cancel
	p.report = &b.reports
	b.must(p.Start(ctx, &stream.Owner{Log: slog.New(slog.DiscardHandler)}))
}

// halt ends the processor as a crash would: without a commit.
func (b *bench) halt() {
	b.stop()
	<-b.p.stopped
}

func (b *bench) restart() { b.t.Helper(); b.halt(); b.start() }

func (b *bench) commit() {
	b.t.Helper()
	c, err := b.p.Commit()
	b.must(err)
	if c != nil {
		b.committed = append(b.committed, c)
	}
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	b.now = b.now.Add(d)
	b.mu.Unlock()
	b.p.wake()
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) message(input int, v any) *stream.Message {
	b.t.Helper()
	data, err := json.Marshal(v)
	b.must(err)
	b.seq++
	return &stream.Message{Input: input, Subject: "account.0", Data: data, Seq: b.seq, Time: b.clock()}
}

func (b *bench) handle(input int, v any) *stream.Message {
	b.t.Helper()
	m := b.message(input, v)
	b.must(b.p.Handle(m))
	_, err := b.p.Tick(b.clock())
	b.must(err)
	return m
}

func (b *bench) account(a records.Account) *stream.Message {
	b.t.Helper()
	if a.Customer == "" {
		a.Customer = "acme"
	}
	return b.handle(inputAccount, a)
}

func (b *bench) address() { b.t.Helper(); b.account(records.Account{Email: new("ada@acme.example")}) }

// reached is what the enforcer says when acme has used all of feature.
func (b *bench) reached(feature string) records.Limit {
	now := b.clock()
	return records.Limit{Kind: records.LimitKindReached, Customer: "acme", Feature: feature, Plan: "free", Limit: events.Count(100),
		Used: events.Count(100), Percent: 100, WindowStart: noon.AddDate(0, 0, -1), WindowEnd: noon.AddDate(0, 0, 29), At: now}
}

// block puts the decision that goes with it.
func (b *bench) block(feature string) {
	now, end := b.clock(), noon.AddDate(0, 0, 29)
	b.decisions.put(events.Decision{Customer: "acme", Feature: feature, Reason: events.LimitReached, Plan: "free",
		Limit: events.Some(events.Count(100)), Used: events.Some(events.Count(100)), UnblocksAt: &end, AsOf: now, DecidedAt: now})
}

func (b *bench) allow(feature string) {
	now := b.clock()
	b.decisions.put(events.Decision{Customer: "acme", Feature: feature, Allowed: true, Reason: events.Unlimited, Plan: "pro", AsOf: now, DecidedAt: now})
}

// reach blocks acme and says so; it returns the notification's key.
func (b *bench) reach(feature string) string {
	b.t.Helper()
	b.block(feature)
	l := b.reached(feature)
	b.handle(inputLimits, l)
	return Key(l.Kind, l.Percent, l.Customer, l.Feature, l.WindowStart)
}

func (b *bench) notification(key string) records.Notification {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return b.store.notifications[key]
}

// until waits for a document to become what f wants.
func (b *bench) until(key, what string, f func(n *records.Notification) bool) records.Notification {
	b.t.Helper()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for {
		b.store.mu.Lock()
		n, changed := b.store.notifications[key], b.store.changed
		b.store.mu.Unlock()
		if f(&n) {
			return n
		}
		select {
		case <-changed:
		case <-late.C:
			n.Body = nil // only long
			b.t.Fatalf("never %s: %+v", what, n)
		}
	}
}

func (b *bench) untilState(key string, state records.MailState) records.Notification {
	b.t.Helper()
	return b.until(key, string(state), func(n *records.Notification) bool { return n.State == state })
}

// quiet lets the sending goroutine look at everything that is due.
func (b *bench) quiet() {
	b.t.Helper()
	for range 2 { // the first look may have begun before
		looked := make(chan struct{})
		var once sync.Once
		b.store.breakWith(func(call string) error {
			if call == "find" {
				once.Do(func() { close(looked) })
			}
			return nil
		})
		b.p.wake()
		select {
		case <-looked:
		case <-time.After(time.Minute):
			b.t.Fatal("the sending goroutine does not look")
		}
	}
	b.store.breakWith(nil)
}
