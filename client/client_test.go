package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

func TestChecksAndRecords(t *testing.T) {
	t.Parallel()
	for _, ns := range []string{"", "acme"} {
		s := newSite(t, ns, apiGate(3))
		s.decide(blocked("bob", time.Now().Add(time.Hour)))
		if _, err := s.kv.Put(t.Context(), records.FenceKey(1), []byte("owner")); err != nil {
			t.Fatal(err)
		}
		c := s.synced(Namespace(ns), Source("test"))
		if d := c.Check("bob", "api"); d.Allowed || d.Reason != events.LimitReached {
			t.Errorf("bob: %+v", d)
		}
		for i := range 3 {
			if d := c.Check("a@b.c", "api"); !d.Allowed {
				t.Fatalf("use %d is blocked: %+v", i, d)
			}
			if err := c.Record(t.Context(), Usage{Customer: "a@b.c", Event: "api"}); err != nil {
				t.Fatal(err)
			}
		}
		d := c.Check("a@b.c", "api")
		if d.Allowed || d.Reason != events.LimitReached || d.Used.Units != 3 || d.Remaining.Units != 0 || d.Message == "" {
			t.Errorf("after the last use: %+v", d)
		}
		list, _ := s.stored(3)
		ids := map[string]bool{}
		for _, e := range list {
			ids[e.ID] = true
			if e.Subject != "a@b.c" || e.Type != "api" || e.Source != "test" || e.ID == "" || !e.Time.IsZero() {
				t.Errorf("stored: %+v", e)
			}
		}
		if len(ids) != 3 {
			t.Errorf("ids: %v", ids)
		}
		if age := c.Age(); age > 5*time.Second {
			t.Errorf("age is %s", age)
		}
	}
}

func TestDecisionsAboutAnyCustomerArrive(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(100))
	ids := []string{"+4915112345", "@ada", "ünï", "=own", "{1}"} // their keys begin with "="
	s.decide(blocked(ids[0], time.Now().Add(time.Hour)))
	c := s.synced()
	for i, id := range ids {
		if i > 0 {
			came := arrival(t, c, id, func(d events.Decision) bool { return !d.Allowed })
			s.decide(blocked(id, time.Now().Add(time.Hour)))
			within(t, came)
		}
		if c.Check(id, "api").Allowed {
			t.Errorf("%s is blocked and the block does not count", id)
		}
	}
}

func TestDecisionsArrive(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(100))
	c := s.synced()
	gone := arrival(t, c, "bob", func(d events.Decision) bool { return !d.Allowed })
	s.decide(blocked("bob", time.Now().Add(time.Hour)))
	within(t, gone)
	if c.Check("bob", "api").Allowed {
		t.Error("the block has arrived and does not count")
	}
	paid := arrival(t, c, "bob", func(d events.Decision) bool { return d.Allowed })
	s.decide(allowed("bob"))
	within(t, paid)
	if d := c.Check("bob", "api"); !d.Allowed || d.Plan != "pro" {
		t.Errorf("after the upgrade: %+v", d)
	}
	// One that is older than what is known changes nothing.
	old := blocked("bob", time.Now().Add(time.Hour))
	old.Position = 1
	s.decide(old)
	marker := arrival(t, c, "carol", func(events.Decision) bool { return true })
	s.decide(allowed("carol"))
	within(t, marker)
	if !c.Check("bob", "api").Allowed {
		t.Error("a decision went back in time")
	}
	// A key that is deleted is a customer of the default plan again.
	if err := s.kv.Delete(t.Context(), events.DecisionKey("bob", "api")); err != nil {
		t.Fatal(err)
	}
	second := arrival(t, c, "dave", func(events.Decision) bool { return true })
	s.decide(allowed("dave"))
	within(t, second)
	if d := c.Check("bob", "api"); d.Plan != "free" || !d.Allowed {
		t.Errorf("after the key was deleted: %+v", d)
	}
}

func TestSurvivesARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(1000))
	s.decide(blocked("bob", time.Now().Add(time.Hour)))
	c := s.synced()
	if err := c.RecordAck(t.Context(), Usage{Customer: "eve", Event: "api"}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	for range 50 {
		if err := c.Record(t.Context(), Usage{Customer: "eve", Event: "api"}); err != nil {
			t.Fatal(err)
		}
	}
	if c.Check("bob", "api").Allowed {
		t.Error("the last known decision is forgotten while the broker is away")
	}
	s.Restart(t)
	begin := time.Now()
	free := arrival(t, c, "bob", func(d events.Decision) bool { return d.Allowed })
	kv, err := s.JetStream(t).KeyValue(t.Context(), events.BucketDecisions)
	if err != nil {
		t.Fatal(err)
	}
	s.kv = kv
	s.decide(allowed("bob"))
	within(t, free)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the first decision after the restart took %s", took)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.js = s.JetStream(t)
	list, _ := s.stored(51)
	ids := map[string]bool{}
	for _, e := range list {
		ids[e.ID] = true
	}
	if len(ids) != 51 {
		t.Errorf("%d of 51 uses are stored", len(ids))
	}
	if d := c.Check("eve", "api"); !d.Allowed || d.Used.Units != 51 {
		t.Errorf("the count after the restart: %+v", d)
	}
}

func TestTheReSyncReplacesAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(1000))
	d := blocked("bob", time.Now().Add(time.Hour))
	d.Position = 900
	s.decide(d)
	c := s.synced()
	// While the broker is away, its bucket is lost and made anew.
	back := arrival(t, c, "carol", func(events.Decision) bool { return true })
	if err := s.js.DeleteKeyValue(t.Context(), events.BucketDecisions); err != nil {
		t.Fatal(err)
	}
	s.bucket()
	s.gates(apiGate(1000))
	early := blocked("carol", time.Now().Add(time.Hour))
	early.Position = 1
	s.decide(early)
	s.Restart(t)
	within(t, back)
	if d := c.Check("bob", "api"); !d.Allowed || d.Plan != "free" {
		t.Errorf("a decision that is gone: %+v", d)
	}
	if c.Check("carol", "api").Allowed {
		t.Error("the new decision does not count")
	}
}

func TestStartsWithoutServersAndWithoutBucket(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.Stop()
	failures := make(chan error, 100)
	c := s.client(FailClosed("exports"), OnError(func(err error) {
		select {
		case failures <- err:
		default:
		}
	}))
	if d := c.Check("bob", "api"); !d.Allowed || d.Reason != events.NoDecision {
		t.Errorf("open: %+v", d)
	}
	if d := c.Check("bob", "exports"); d.Allowed || d.Reason != events.NoDecision {
		t.Errorf("closed: %+v", d)
	}
	if err := c.Record(t.Context(), Usage{Customer: "bob", Event: "api"}); err != nil {
		t.Fatal(err)
	}
	if c.Ready() {
		t.Error("ready without servers")
	}
	<-failures
	s.Restart(t)
	s.js = s.JetStream(t)
	for err := range failures { // connected, and the bucket is not there
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			break
		}
	}
	s.bucket()
	s.gates(apiGate(1))
	within(t, c.Synced())
	if d := c.Check("bob", "api"); d.Allowed || d.Used.Units != 1 {
		t.Errorf("what was recorded before the sync does not count: %+v", d)
	}
	if d := c.Check("bob", "unknown"); !d.Allowed || d.Reason != events.NoDecision {
		t.Errorf("a feature that no gate has: %+v", d)
	}
	if list, _ := s.stored(1); list[0].Time.IsZero() {
		t.Error("an event that waited has no time")
	}
}

func TestPacksUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(1))
	c := s.synced()
	const n = 20_000
	for i := range n {
		if err := c.Record(t.Context(), Usage{Customer: string(rune('a' + i%26)), Event: "other"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, messages := s.stored(n)
	if messages > n/5 {
		t.Errorf("%d events went in %d messages", n, messages)
	}
	if err := c.Record(t.Context(), Usage{Customer: "a", Event: "b"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestFullBuffer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	c := s.client(Buffer(2))
	for range 2 {
		if err := c.Record(t.Context(), Usage{Customer: "a", Event: "b"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Record(ctx, Usage{Customer: "a", Event: "b"}); !errors.Is(err, ErrBufferFull) || !errors.Is(err, context.Canceled) {
		t.Errorf("a third: %v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- c.RecordAck(t.Context(), Usage{Customer: "a", Event: "b"}) }()
	s.bucket()
	s.gates(apiGate(1))
	select {
	case err := <-waiting:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("no room came free")
	}
	s.stored(3)
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(1))
	c := s.synced()
	s.Stop()
	for range 3 {
		if err := c.Record(t.Context(), Usage{Customer: "a", Event: "b"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.Close(ctx)
	if !errors.Is(err, ErrUndelivered) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	if want := "usage events were not delivered: 3 events: context deadline exceeded"; err.Error() != want {
		t.Errorf("Close: %q, want %q", err, want)
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(1))
	c := s.client()
	err := c.Identify(t.Context(), Customer{ID: "acme", Email: "ada@acme.example", Locale: "de"})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), events.StreamAccount)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(t.Context(), s.names.AccountIn("acme"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"customer":"acme","email":"ada@acme.example","locale":"de"}`; string(m.Data) != want {
		t.Errorf("stored %s, want %s", m.Data, want)
	}
	if err := c.Identify(t.Context(), Customer{}); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("without an id: %v", err)
	}
}

func TestDisabled(t *testing.T) {
	t.Setenv("TIDEGATE_DISABLED", "1")
	c, err := New(nil, FailClosed())
	if err != nil {
		t.Fatal(err)
	}
	within(t, c.Synced())
	if !c.Check("bob", "api").Allowed {
		t.Error("blocked")
	}
	if err := errors.Join(c.Record(t.Context(), Usage{}), c.RecordAck(t.Context(), Usage{}), c.Identify(t.Context(), Customer{}), c.Flush(t.Context()), c.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Option{"namespace": Namespace("a.b"), "buffer": Buffer(0), "within": ConfirmWithin(0)} {
		if _, err := New(&nats.Conn{}, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(nil); err == nil {
		t.Error("without a connection: accepted")
	}
}
