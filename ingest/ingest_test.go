package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store/kv"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 4

var testNow = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// bench is a server over HTTP with real streams behind it.
type bench struct {
	t     testing.TB
	nats  *testnats.Server
	js    jetstream.JetStream
	nc    *nats.Conn
	store *kv.Store
	cache *cache
	srv   *Server
	url   string
	key   string
}

// cache stands for the client's cache of decisions, which a role must not import.
type cache struct {
	mu        sync.Mutex
	decisions map[string]events.Decision
	gates     events.Gates
	synced    bool
}

func (c *cache) Check(customer, feature string) events.Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.decisions[customer+"/"+feature]; ok {
		return d
	}
	return events.Decision{Customer: customer, Feature: feature, Allowed: true, Reason: events.WithinLimit, Plan: "free", Limit: events.Some(events.Count(100))}
}

func (c *cache) Gates() (events.Gates, bool) { return c.gates, c.synced }

func (c *cache) set(d events.Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decisions[d.Customer+"/"+d.Feature] = d
}

func blocked(customer, feature string) events.Decision {
	end := testNow.Add(48 * time.Hour)
	return events.Decision{
		Customer: customer, Feature: feature, Reason: events.LimitReached, Plan: "free", Limit: events.Some(events.Count(100)),
		Used: events.Some(events.Count(100)), Remaining: events.Some(events.Count(0)), UnblocksAt: &end,
		Message: "You've reached your limit.", UpgradeURL: "https://acme.example/u/1",
	}
}

func testCatalog() gate.Catalog {
	limits := map[string]gate.Limit{"free": {Value: events.Count(100)}, "pro": {Unlimited: true}}
	month := gate.WindowSpec{Kind: gate.Anniversary, Days: 30}
	return gate.Catalog{
		Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}},
		Gates: []gate.Gate{
			{Feature: "api", Triggers: []events.Trigger{{Endpoint: "/api/features/*", Method: "POST"}}, Meter: gate.Meter{Event: "api", Aggregate: gate.Count},
				Limits: limits, Window: month, Message: "Upgrade to continue.", UpgradeURL: "https://acme.example/pricing"},
			{Feature: "tokens", Meter: gate.Meter{Event: "tokens", Aggregate: gate.Sum, Value: "tokens"}, Limits: limits, Window: month},
		},
	}
}

func newBench(t testing.TB, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, nats: testnats.Start(t), cache: &cache{decisions: map[string]events.Decision{}}}
	b.nc = b.nats.Connect(t)
	js, err := stream.JetStream(b.nc)
	ok(t, err)
	b.js = js
	names, catalog := events.Names{}, testCatalog()
	_, err = stream.Ensure(t.Context(), js, stream.Layout{Names: names, Partitions: partitions})
	ok(t, err)
	b.store, err = kv.Open(t.Context(), js, names, 1)
	ok(t, err)
	o := Options{
		JS: js, NC: b.nc, Names: names, Partitions: partitions, Horizon: 32 * 24 * time.Hour, Catalog: func() *gate.Catalog { return &catalog },
		Decisions: b.cache, Store: b.store, Now: func() time.Time { return testNow }, Log: slog.New(slog.DiscardHandler),
		UpgradeURL: func() string { return "https://acme.example/pricing" },
	}
	for _, f := range change {
		f(&o)
	}
	b.srv = New(o)
	hs := httptest.NewServer(b.srv.Handler())
	t.Cleanup(func() { b.srv.Close(); hs.Close() })
	b.url = hs.URL
	return b
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("not JSON: %v: %s", err, a.body)
	}
	return m
}

// call makes a request; headers are "Name: value".
func (b *bench) call(method, path, body string, headers ...string) answer {
	b.t.Helper()
	req, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	ok(b.t, err)
	if b.key != "" {
		req.Header.Set("Authorization", "Bearer "+b.key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	ok(b.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	ok(b.t, err)
	return answer{res.StatusCode, res.Header, data}
}

// rawRequest sends a request as it is written.
func (b *bench) rawRequest(request string) answer {
	b.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	ok(b.t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	ok(b.t, err)
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	ok(b.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ok(b.t, err)
	return answer{res.StatusCode, res.Header, body}
}

// want calls and demands the status; refusals must be problems.
func (b *bench) want(status int, method, path, body string, headers ...string) answer {
	b.t.Helper()
	a := b.call(method, path, body, headers...)
	if a.status != status {
		b.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.status, status, a.body)
	}
	if status >= 400 && method != http.MethodHead && !bytes.HasPrefix(a.body, []byte("<!doctype")) {
		if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
			b.t.Fatalf("%s %s: content type %q: %s", method, path, ct, a.body)
		}
		p := a.json(b.t)
		if p["status"] != float64(status) || p["title"] == "" || p["type"] == nil || p["detail"] == "" {
			b.t.Fatalf("%s %s: incomplete problem %s", method, path, a.body)
		}
	}
	return a
}

// stored returns the messages of a stream, in order.
func (b *bench) stored(name string) []*jetstream.RawStreamMsg {
	b.t.Helper()
	s, err := b.js.Stream(context.Background(), name)
	ok(b.t, err)
	var list []*jetstream.RawStreamMsg
	for seq := max(s.CachedInfo().State.FirstSeq, 1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(context.Background(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		ok(b.t, err)
		list = append(list, m)
	}
	return list
}

// usage returns all stored events, having checked how they were packed.
func (b *bench) usage() []events.Event {
	b.t.Helper()
	var list []events.Event
	for _, m := range b.stored("USAGE") {
		if m.Header.Get(events.ContentTypeHeader) != events.ContentTypeBatch || m.Header.Get(jetstream.MsgIDHeader) != "" || len(m.Data) > events.MaxBatchBytes {
			b.t.Fatalf("message of %d bytes with header %v", len(m.Data), m.Header)
		}
		ok(b.t, events.EachInBatch(m.Data, func(_ int, e events.Event, _ []byte, err error) {
			ok(b.t, err)
			if want := (events.Names{}).Usage(events.PartitionOf(e.Subject, partitions), events.BatchToken); m.Subject != want {
				b.t.Errorf("event of %q is in %s, want %s", e.Subject, m.Subject, want)
			}
			list = append(list, e)
		}))
	}
	return list
}

// accounts returns all changes in ACCOUNT.
func (b *bench) accounts() []records.Account {
	b.t.Helper()
	var list []records.Account
	for _, m := range b.stored("ACCOUNT") {
		var a records.Account
		ok(b.t, json.Unmarshal(m.Data, &a))
		if want := (events.Names{}).Account(events.PartitionOf(a.Customer, partitions)); a.Gate == nil && m.Subject != want {
			b.t.Errorf("change of %q is in %s, want %s", a.Customer, m.Subject, want)
		}
		list = append(list, a)
	}
	return list
}

// owner answers what the owners of all partitions of a role are asked of
// customers.
func (b *bench) owner(role string, reply func(customer string) any) (stop func()) {
	b.t.Helper()
	kind := map[string]string{"aggregator": questions.UsageOf.Kind, "enforcer": questions.StandingOf.Kind}[role]
	sub, err := b.nc.Subscribe("query."+role+".*."+kind, func(m *nats.Msg) {
		var customer string
		if err := json.Unmarshal(m.Data, &customer); err != nil {
			b.t.Errorf("%s %s: %v", m.Subject, m.Data, err)
		}
		body, err := json.Marshal(reply(customer))
		if err != nil {
			b.t.Error(err)
		}
		_ = m.Respond(body)
	})
	ok(b.t, err)
	stop = func() { _ = sub.Unsubscribe() }
	b.t.Cleanup(stop)
	ok(b.t, b.nc.Flush())
	return stop
}
