package refetch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/teststripe"
	"github.com/tidegate-io/tidegate/internal/test/wait"

	"github.com/tidegate-io/tidegate/events"
)

// ofOneSecond gives events the same time and removes their previous values, so
// that nothing in them shows their order.
func ofOneSecond(t *testing.T, sent ...teststripe.Event) (same []teststripe.Event) {
	t.Helper()
	var first any
	for _, e := range sent {
		var o map[string]any
		if err := json.Unmarshal(e.Payload, &o); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = o["created"]
		}
		o["created"] = first
		delete(o["data"].(map[string]any), "previous_attributes")
		e.Payload, _ = json.Marshal(o)
		same = append(same, e)
	}
	return same
}

// TestFetchedObjectWinsOverTheOrderOfEvents: the events alone give a wrong state.
func TestFetchedObjectWinsOverTheOrderOfEvents(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	cus := p.Customer("ada@acme.example", "tidegate_customer", "acme")
	sub, sent := p.Subscribe(cus, "price_pro")
	sent = append(sent, p.Change(sub, teststripe.Object{"status": "past_due"}))
	sent = append(sent, p.Change(sub, teststripe.Object{"status": "unpaid"}))
	sent = append(sent, p.Change(sub, teststripe.Object{"status": "active", "metadata": map[string]any{"tidegate_customer": "acme"}}))
	sent = ofOneSecond(t, sent...)
	for i := range sent { // the last event comes first
		p.deliver(sent[len(sent)-1-i])
	}
	p.ask()
	p.shows("acme", "pro", "active")
	p.idle()
	p.shows("acme", "pro", "active")

	// The end comes first, and an older event comes late.
	ended := ofOneSecond(t, p.Change(sub, teststripe.Object{"quantity": 2}), p.Cancel(sub))
	p.deliver(ended[1], ended[0])
	p.shows("acme", "free", "canceled")
	p.idle()
	p.shows("acme", "free", "canceled")
	replays(t, p)
}

// replays folds BILLING anew without Stripe, and checks that the result is the
// same.
func replays(t *testing.T, p *fixture) {
	t.Helper()
	asked := len(p.Requests(""))
	s := fold.New(foldConfig())
	in := stream.Input{Stream: events.StreamBilling, Filters: []string{p.env.Names.Billing(">")}}
	err := stream.Read(t.Context(), p.env.JS, p.env.Names, in, ^uint64(0), func(m *stream.Message) error {
		kind := fold.Kind(strings.TrimPrefix(m.Subject, p.env.Names.Billing("")))
		rec, err := fold.ParseRecord(kind, m.Data, m.Seq, m.Time)
		if err == nil {
			s.Apply(rec)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	live, err := p.subscription("acme")
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := s.Subscription("acme")
	a, _ := json.Marshal(live)
	b, _ := json.Marshal(doc)
	if !bytes.Equal(a, b) {
		t.Errorf("live     %s\nreplayed %s", a, b)
	}
	if n := len(p.Requests("")); n != asked {
		t.Errorf("the replay asked %d times", n-asked)
	}
}

// TestCustomerIsFetched: no webhook shows the metadata of a new Stripe customer.
func TestCustomerIsFetched(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.ask()
	_, sent := p.Subscribe(p.Customer("ada@acme.example", "tidegate_customer", "acme"), "price_any")
	p.deliver(sent...)
	p.shows("acme", "paid", "active")
	p.idle()
	for _, rec := range p.records(fold.KindFetched) {
		if f := rec.Fetched; f.APIVersion == "" || f.At.IsZero() || !json.Valid(f.Object) {
			t.Errorf("%+v", f)
		}
	}
}

func TestThinEvents(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.ask()
	sub, _ := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro", "tidegate_customer", "acme")
	thin := func(id, typ, of, object string) teststripe.Event {
		return teststripe.Event{ID: id, Type: typ, Payload: fmt.Appendf(nil, `{"id":%q,"object":"v2.core.event","type":%q,"created":%q,"livemode":false,
			"related_object":{"id":%q,"type":%q,"url":"/v1/x"}}`, id, typ, p.Now().Format(time.RFC3339Nano), object, of)}
	}
	p.deliver(thin("evt_t1", "v1.customer.subscription.created", "subscription", sub))
	p.shows("acme", "pro", "active")
	p.Cancel(sub)
	p.deliver(thin("evt_t2", "v1.customer.subscription.deleted", "subscription", sub))
	p.shows("acme", "free", "canceled")
	p.deliver(thin("evt_t3", "v1.billing.meter.error_report_triggered", "billing.meter", "mtr_1"))
	p.idle()
}

// TestEventsOfAnObjectShareAFetch: many webhooks of an object cause few requests.
func TestEventsOfAnObjectShareAFetch(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	sub, sent := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro")
	for i := range 200 {
		sent = append(sent, p.Change(sub, teststripe.Object{"quantity": i}))
	}
	p.deliver(sent...)
	p.ask()
	p.shows("acme", "pro", "active")
	p.idle()
	if n := len(p.Requests("GET /v1/subscriptions/")); n == 0 || n > maxAttempts {
		t.Errorf("%d fetches for %d events", n, len(sent))
	}
	if n := len(p.Requests("GET /v1/products/")); n != 1 {
		t.Errorf("the product was fetched %d times", n)
	}
}

// TestOutage: the fold continues with the events, and the next process corrects it
// when Stripe answers again.
func TestOutage(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	stop := p.ask()
	p.Down()
	cus := p.Customer("", "tidegate_customer", "acme")
	sub, sent := p.Subscribe(cus, "price_pro", "tidegate_customer", "acme")
	p.deliver(sent...)
	p.shows("acme", "pro", "active")
	p.Change(sub, teststripe.Object{"status": "unpaid"}) // without a webhook
	wait.Until(p.t, "the outage is known", func() error {
		s, err := p.status()
		if err != nil {
			return err
		}
		if s.Pending == 0 || !strings.Contains(s.Error, "did not answer") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	stop()
	p.ask()
	p.Recover()
	p.shows("acme", "free", "unpaid")
	p.idle()
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.Limit(6)
	p.ask()
	for i := range 12 {
		_, sent := p.Subscribe(p.Customer(""), "price_pro", "tidegate_customer", fmt.Sprint("c", i))
		p.deliver(sent[0])
	}
	p.idle()
	fetched := map[string]bool{}
	for _, rec := range p.records(fold.KindFetched) {
		fetched[rec.Fetched.ID] = true
	}
	if len(fetched) != 25 { // subscriptions, customers and the product
		t.Errorf("%d objects were fetched: %v", len(fetched), fetched)
	}
}

// TestRefusedFetches: a refused fetch does not stop the others.
func TestRefusedFetches(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	sub, sent := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro", "tidegate_customer", "acme")
	p.Forget(sub)
	p.deliver(sent...)
	p.ask()
	p.idle()
	p.shows("acme", "pro", "active") // as the events say

	p.Fail(403)
	_, sent = p.Subscribe(p.Customer("", "tidegate_customer", "globex"), "price_pro", "tidegate_customer", "globex")
	p.deliver(sent...)
	p.idle()
	p.shows("globex", "pro", "active")
}

// TestFirstStart: objects of old events are not fetched.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	_, sent := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro", "tidegate_customer", "acme")
	p.deliver(sent...)
	now := time.Now
	p.env.Now = func() time.Time { return now().Add(3 * firstScan) }
	c := New(Options{Now: p.env.Now, Reconcile: func() time.Duration { return 0 }})
	p.own(stream.RoleStripe, Input(p.env.Names), func() stream.Processor { return c })
	p.shows("acme", "pro", "active")
	p.idle()
	if n := len(p.Requests("")); n != 0 {
		t.Errorf("%d questions about the past", n)
	}
}

// TestFreshChangesComeFirst: a backlog of days does not delay a customer who pays
// now.
func TestFreshChangesComeFirst(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.Hang()
	var old []teststripe.Event
	for i := range 200 {
		_, sent := p.Subscribe(p.Customer(""), "price_pro", "tidegate_customer", fmt.Sprint("c", i))
		old = append(old, sent[0])
	}
	for i := range old {
		var o map[string]any
		if err := json.Unmarshal(old[i].Payload, &o); err != nil {
			t.Fatal(err)
		}
		o["created"] = p.Now().Add(-72 * time.Hour).Unix()
		old[i].Payload, _ = json.Marshal(o)
	}
	p.deliver(old...)
	p.ask()
	sub, sent := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro")
	p.deliver(sent...)
	wait.Until(p.t, "all are pending", func() error {
		if s, err := p.status(); err != nil || s.Pending != 403 {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})
	p.Recover()
	p.idle()
	p.shows("acme", "pro", "active")
	all := p.Requests("GET")
	first := slices.IndexFunc(all, func(r teststripe.Request) bool { return strings.HasSuffix(r.Path, sub) })
	if first < 0 || first > 3*maxRunning { // some may have been fetched before its webhook came
		t.Errorf("it was the question number %d of %d", first, len(all))
	}
}
