package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/app"
)

// configuration has one gate: feature api, free 2 a month.
const configuration = `
plans: {free: {default: true}}
gates:
  - feature: api
    trigger: {endpoint: /api/*, method: POST}
    condition: {limit: {free: 2}, period: month}
    action: {type: block, message: No more.}
`

// tidegate starts a Tidegate in this process and connects to it. In production an
// app connects to the NATS servers that `tidegate serve` works on.
func tidegate(ctx context.Context) (nc *nats.Conn, stop func()) {
	t, err := app.Dev(ctx, configuration)
	check(err)
	nc, err = nats.Connect(t.NATS(), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	check(err)
	return nc, func() { nc.Close(); t.Stop(ctx) }
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Check before a use, record after it.
func Example() {
	ctx := context.Background()
	nc, stop := tidegate(ctx)
	defer stop()

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
	nc, stop := tidegate(ctx)
	defer stop()
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
	nc, stop := tidegate(ctx)
	defer stop()
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
	nc, stop := tidegate(ctx)
	defer stop()
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
	nc, stop := tidegate(ctx)
	defer stop()
	c, err := client.New(nc)
	check(err)
	defer func() { check(c.Close(ctx)) }()
	<-c.Synced()

	decisions := make(chan events.Decision, 10)
	end := c.Watch("acme", func(d events.Decision) { decisions <- d })
	defer end()

	for range 2 { // as many as are free
		check(c.Record(ctx, client.Usage{Customer: "acme", Event: "api"}))
	}
	for d := range decisions {
		if !d.Allowed {
			fmt.Println(d.Feature, d.Reason, d.Message, c.Ready(), c.Age() < time.Minute)
			break
		}
	}
	// Output: api limit_reached No more. true true
}
