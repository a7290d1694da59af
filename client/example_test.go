package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
)

// tidegate starts a NATS server with what an installation has, and one gate:
// feature api, free 2 a month. In production `tidegate serve` makes all this.
func tidegate(ctx context.Context) (url string, stop func()) {
	dir, err := os.MkdirTemp("", "tidegate-example")
	check(err)
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	check(err)
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		log.Fatal("the server did not start")
	}
	nc, err := nats.Connect(srv.ClientURL())
	check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	check(err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "USAGE", Subjects: []string{"usage.in.*", "usage.p.*.*"}})
	check(err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "ACCOUNT", Subjects: []string{"account.*"}})
	check(err)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "decisions"})
	check(err)
	gates, err := json.Marshal(events.Gates{Partitions: 4, DefaultPlan: "free", Gates: []events.Gate{{
		Feature: "api", Event: "api", Aggregate: "count", InPlan: true, Limit: events.Some(events.Count(2)), Period: "month", Window: "calendar",
		Triggers: []events.Trigger{{Endpoint: "/api/*", Method: "POST"}}, Message: "You've reached your free tier limit. Upgrade to continue.",
	}}})
	check(err)
	_, err = kv.Put(ctx, events.GatesKey, gates)
	check(err)
	return srv.ClientURL(), func() {
		srv.Shutdown()
		srv.WaitForShutdown()
		check(os.RemoveAll(dir))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Check before a use, record after it.
func Example() {
	ctx := context.Background()
	url, stop := tidegate(ctx)
	defer stop()

	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	check(err)
	defer nc.Close()
	c, err := client.New(nc, client.Source("billing-api"))
	check(err)
	<-c.Synced() // an app need not wait: until then the fail policy answers

	for range 3 {
		d := c.Check("acme", "api")
		fmt.Println(d.Allowed, d.Reason)
		if d.Allowed {
			check(c.Record(ctx, client.Usage{Customer: "acme", Event: "api"}))
		}
	}
	check(c.Identify(ctx, client.Customer{ID: "acme", Email: "ada@acme.example"}))
	check(c.Close(ctx)) // delivers what is buffered
	// Output:
	// true within_limit
	// true within_limit
	// false limit_reached
}

// Gate checks before a handler and records after it.
func ExampleClient_Gate() {
	ctx := context.Background()
	url, stop := tidegate(ctx)
	defer stop()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	check(err)
	defer nc.Close()
	c, err := client.New(nc)
	check(err)
	defer func() { check(c.Close(ctx)) }()
	<-c.Synced()

	customerOf := func(r *http.Request) string { return r.Header.Get("X-Customer") } // an app: its session
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "made") })
	mux := http.NewServeMux()
	mux.Handle("POST /api/features/x", c.Gate("api", customerOf)(handler))

	for range 3 {
		r := httptest.NewRequest("POST", "/api/features/x", nil)
		r.Header.Set("X-Customer", "acme")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Content-Type"))
	}
	// Output:
	// 200 text/plain; charset=utf-8
	// 200 text/plain; charset=utf-8
	// 402 application/problem+json
}

// RecordAck returns after the use has been stored. With an ID it can be
// repeated, and counts once.
func ExampleClient_RecordAck() {
	ctx := context.Background()
	url, stop := tidegate(ctx)
	defer stop()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	check(err)
	defer nc.Close()
	c, err := client.New(nc, client.Source("orders"))
	check(err)
	defer func() { check(c.Close(ctx)) }()

	err = c.RecordAck(ctx, client.Usage{Customer: "acme", Event: "tokens", ID: "order-17", Value: 812})
	fmt.Println(err)
	// Output: <nil>
}

// Middleware finds each request's gate by the triggers in the configuration.
func ExampleClient_Middleware() {
	ctx := context.Background()
	url, stop := tidegate(ctx)
	defer stop()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	check(err)
	defer nc.Close()
	c, err := client.New(nc)
	check(err)
	defer func() { check(c.Close(ctx)) }()
	<-c.Synced()

	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/search", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "found") })
	mux.HandleFunc("GET /about", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "about") })
	app := c.Middleware(func(r *http.Request) string { return r.Header.Get("X-Customer") })(mux)

	for _, request := range []string{"POST /api/search", "POST /api/search", "POST /api/search", "GET /about"} {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("X-Customer", "acme")
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		fmt.Println(request, w.Code)
	}
	// Output:
	// POST /api/search 200
	// POST /api/search 200
	// POST /api/search 402
	// GET /about 200
}

// Watch tells of a customer's decisions, here of the block that ends a job.
func ExampleClient_Watch() {
	ctx := context.Background()
	url, stop := tidegate(ctx)
	defer stop()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	check(err)
	defer nc.Close()
	c, err := client.New(nc)
	check(err)
	defer func() { check(c.Close(ctx)) }()
	<-c.Synced()

	blocked := make(chan events.Decision, 1)
	end := c.Watch("acme", func(d events.Decision) { blocked <- d })
	defer end()

	decide(ctx, nc, events.Decision{Customer: "acme", Feature: "api", Reason: events.LimitReached, Message: "No more."})
	d := <-blocked
	fmt.Println(d.Feature, d.Allowed, d.Message, c.Ready(), c.Age() < time.Minute)
	// Output: api false No more. true true
}

// decide stands for Tidegate's enforcer.
func decide(ctx context.Context, nc *nats.Conn, d events.Decision) {
	js, err := jetstream.New(nc)
	check(err)
	kv, err := js.KeyValue(ctx, "decisions")
	check(err)
	b, err := json.Marshal(d)
	check(err)
	_, err = kv.Put(ctx, events.DecisionKey(d.Customer, d.Feature), b)
	check(err)
}
