package refetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
	"github.com/tidegate-io/tidegate/internal/test/teststripe"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is NATS, the subscription fold and a Stripe account.
type fixture struct {
	*teststripe.Server
	t       testing.TB
	env     stream.Env
	metrics *metrics.Set
	every   atomic.Int64 // between scans of the events
}

func foldConfig() fold.Config {
	return fold.Config{Grace: fold.DefaultGrace, Plans: fold.Plans{
		Order: []string{"free", "pro", "paid"}, Default: "free", Any: "paid", LookupKeys: map[string]string{"pro_monthly": "pro"}}}
}

type nowhere struct{}

func (nowhere) WriteSubscriptions(context.Context, []records.Subscription) error { return nil }

func newFixture(t testing.TB) *fixture {
	t.Helper()
	nc := testnats.Start(t).Connect(t)
	js, err := stream.JetStream(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := events.Names{Namespace: "acme"}
	if _, err := stream.Ensure(t.Context(), js, stream.Layout{Names: names, Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	p := &fixture{Server: teststripe.New(t), t: t, metrics: metrics.NewSet(), env: stream.Env{NC: nc, JS: js, Names: names,
		Holder: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now, CommitEvery: 5 * time.Millisecond}}
	p.Price("price_pro", "pro_monthly", "prod_pro")
	p.Price("price_any", "any_monthly", "prod_any")
	p.own(stream.RoleBilling, fold.Input(names), func() stream.Processor { return fold.NewProcessor(foldConfig(), 2, nowhere{}) })
	return p
}

// own runs a role until stop is called.
func (p *fixture) own(role string, in stream.Input, processor func() stream.Processor) (stop func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sup := stream.NewSupervisor(p.env)
	sup.Go(ctx, stream.Spec{Role: role, Inputs: []stream.Input{in}}, processor)
	stop = sync.OnceFunc(func() { cancel(); sup.Wait() })
	p.t.Cleanup(stop)
	return stop
}

// ask runs a Processor until stop is called.
func (p *fixture) ask() (stop func()) {
	p.t.Helper()
	c, err := api.New(api.Options{Key: p.Key, Base: p.URL})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.own(stream.RoleStripe, Input(p.env.Names), func() stream.Processor {
		return New(Options{Stripe: c, Now: time.Now, Delay: 20 * time.Millisecond, Metrics: p.metrics,
			Reconcile: func() time.Duration { return time.Duration(p.every.Load()) }})
	})
}

// deliver publishes webhooks, two seconds after their events.
func (p *fixture) deliver(sent ...teststripe.Event) {
	p.t.Helper()
	p.Wait(2 * time.Second)
	for _, e := range sent {
		m := nats.NewMsg(p.env.Names.Billing("stripe"))
		m.Data = e.Payload
		m.Header.Set(jetstream.MsgIDHeader, fold.MessageID(e.ID))
		if _, err := p.env.JS.PublishMsg(p.t.Context(), m); err != nil {
			p.t.Fatal(err)
		}
	}
}

// query asks the owner of a role.
func query[Req, Resp any](p *fixture, q stream.Question[Req, Resp], req Req) (Resp, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	return q.Ask(ctx, stream.Asker{NC: p.env.NC, Names: p.env.Names}, 0, req)
}

// status asks how fetching goes.
func (p *fixture) status() (Status, error) { return query(p, StatusQuestion, stream.None{}) }

// subscription asks what a customer pays for.
func (p *fixture) subscription(customer string) (sub records.Subscription, err error) {
	a, err := query(p, fold.SubscriptionQuestion, customer)
	if a.Subscription != nil {
		sub = *a.Subscription
	}
	return sub, err
}

// shows waits for a customer's plan and status.
func (p *fixture) shows(customer, plan, status string) {
	p.t.Helper()
	wait.Until(p.t, customer+" is "+plan, func() error {
		s, err := p.subscription(customer)
		if err != nil {
			return err
		}
		if s.Plan != plan || s.Status != status {
			return fmt.Errorf("it is %s %s", s.Plan, s.Status)
		}
		return nil
	})
}

// idle waits until there is nothing to fetch.
func (p *fixture) idle() {
	p.t.Helper()
	wait.Until(p.t, "nothing is pending", func() error {
		s, err := p.status()
		if err != nil {
			return err
		}
		if s.Pending > 0 || s.Reconciling {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// records returns BILLING's records of a kind.
func (p *fixture) records(kind fold.Kind) (all []fold.Record) {
	p.t.Helper()
	in := stream.Input{Stream: events.StreamBilling, Filters: []string{p.env.Names.Billing(string(kind))}}
	err := stream.Read(p.t.Context(), p.env.JS, p.env.Names, in, ^uint64(0), func(m *stream.Message) error {
		rec, err := fold.ParseRecord(kind, m.Data, m.Seq, m.Time)
		all = append(all, rec)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

var errNotYet = errors.New("not yet")
