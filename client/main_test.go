package client

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is what a Tidegate installation looks like to an app.
type site struct {
	*testnats.Server
	t     testing.TB
	names events.Names
	js    jetstream.JetStream
	kv    jetstream.KeyValue
	n     int64
}

const partitions = 4

// newSite starts a server with the streams, and the bucket with these gates;
// without gates there is no bucket yet.
func newSite(t testing.TB, ns string, gates ...events.Gate) *site {
	t.Helper()
	s := &site{Server: testnats.Start(t), t: t, names: events.Names{Namespace: ns}}
	s.js = s.JetStream(t)
	for _, cfg := range []jetstream.StreamConfig{
		{Name: s.names.Stream(events.StreamUsage), Subjects: []string{s.names.Subject("usage.in.*"), s.names.Subject("usage.p.*.*")}},
		{Name: s.names.Stream(events.StreamAccount), Subjects: []string{s.names.Subject("account.in.*")}},
	} {
		if _, err := s.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	if len(gates) > 0 {
		s.bucket()
		s.gates(gates...)
	}
	return s
}

func (s *site) bucket() {
	s.t.Helper()
	kv, err := s.js.CreateKeyValue(s.t.Context(), stream.DecisionsBucket(s.names, 1))
	if err != nil {
		s.t.Fatal(err)
	}
	s.kv = kv
}

func (s *site) put(key string, v any) {
	s.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.kv.Put(s.t.Context(), key, b); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) gates(gates ...events.Gate) {
	s.t.Helper()
	s.put(events.GatesKey, events.Gates{Partitions: partitions, DefaultPlan: "free", Gates: gates})
}

func (s *site) decide(d events.Decision) {
	s.t.Helper()
	s.n++
	if d.Position == 0 {
		d.Position = s.n
	}
	s.put(events.DecisionKey(d.Customer, d.Feature), d)
}

func (s *site) client(opts ...Option) *Client {
	s.t.Helper()
	nc, err := nats.Connect(s.URL, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	c, err := New(nc, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// synced returns a client after its first sync.
func (s *site) synced(opts ...Option) *Client {
	s.t.Helper()
	c := s.client(opts...)
	within(s.t, c.Synced())
	return c
}

// stored returns the first n usage events in the stream, and how many messages
// carried them.
func (s *site) stored(n int) (list []events.Event, messages int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cons, err := s.js.OrderedConsumer(ctx, s.names.Stream(events.StreamUsage), jetstream.OrderedConsumerConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	for len(list) < n {
		m, err := cons.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			s.t.Fatalf("%d of %d events are stored: %v", len(list), n, err)
		}
		messages++
		if got := m.Headers().Get(events.ContentTypeHeader); got != events.ContentTypeBatch {
			s.t.Errorf("content type is %q", got)
		}
		if got := m.Headers().Get(nats.MsgIdHdr); got != "" {
			s.t.Errorf("message id is %q", got)
		}
		err = events.EachInBatch(m.Data(), func(_ int, e events.Event, _ []byte, err error) {
			if err != nil {
				s.t.Errorf("event: %v", err)
			}
			if want := s.names.Usage(events.PartitionOf(e.Subject, partitions), events.BatchToken); m.Subject() != want {
				s.t.Errorf("%s was published to %s, want %s", e.Subject, m.Subject(), want)
			}
			list = append(list, e)
		})
		if err != nil {
			s.t.Error(err)
		}
	}
	return list, messages
}

func within(t testing.TB, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it did not happen in 20 s")
	}
}

// arrival returns a channel that closes when a decision about the customer has
// arrived for which ok is true.
func arrival(t testing.TB, c *Client, customer string, ok func(events.Decision) bool) <-chan struct{} {
	done := make(chan struct{})
	closed := false
	stop := c.Watch(customer, func(d events.Decision) {
		if !closed && ok(d) {
			closed = true
			close(done)
		}
	})
	t.Cleanup(stop)
	return done
}

func apiGate(limit int64) events.Gate {
	return events.Gate{Feature: "api", Event: "api", Aggregate: "count", InPlan: true, Limit: events.Some(events.Count(limit)),
		Period: "30d", Window: "anniversary", Triggers: []events.Trigger{{Endpoint: "/api/*", Method: "POST"}}, Message: "Upgrade to continue.", UpgradeURL: "https://acme.example/pricing"}
}

func blocked(customer string, until time.Time) events.Decision {
	return events.Decision{Customer: customer, Feature: "api", Reason: events.LimitReached, Plan: "free",
		Limit: events.Some(events.Count(100)), Used: events.Some(events.Count(100)), Remaining: events.Some(events.Value{}), UnblocksAt: &until}
}

func allowed(customer string) events.Decision {
	return events.Decision{Customer: customer, Feature: "api", Allowed: true, Reason: events.Unlimited, Plan: "pro"}
}
