package client

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// asked is what a server with the middleware answers a request whose target no
// client would write.
func asked(t *testing.T, srv *httptest.Server, method, target string) (status int, document gate.Answer) {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, method+" "+target+" HTTP/1.1\r\nHost: h\r\nX-Customer: bob\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_ = json.NewDecoder(res.Body).Decode(&document) // of others it stays empty
	return res.StatusCode, document
}

// serveGates serves a handler behind the middleware; uses returns how many were
// recorded.
func serveGates(t *testing.T, handler http.Handler, gates ...events.Gate) (srv *httptest.Server, uses func() int) {
	t.Helper()
	c, m := inMemory(t, nil, gates...)
	srv = httptest.NewServer(c.Middleware(customerOf)(handler))
	t.Cleanup(srv.Close)
	return srv, func() int { return recorded(t, c, m) }
}

// TestMiddlewareReadsTheVectors: over real HTTP the middleware blocks what
// docs/vectors/trigger.json says is gated, and refuses what cannot be read.
func TestMiddlewareReadsTheVectors(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../docs/vectors/trigger.json")
	if err != nil {
		t.Fatal(err)
	}
	type vector struct {
		Gates          []events.Gate
		Method, Target string
		Want           *string
		Refused        bool
	}
	var table struct{ Cases []vector }
	if err := json.Unmarshal(file, &table); err != nil {
		t.Fatal(err)
	}
	table.Cases = slices.DeleteFunc(table.Cases, func(c vector) bool {
		return c.Target == "" || c.Target == "*" || strings.ContainsAny(c.Target, " \t") // no request
	})
	for _, c := range table.Cases[:150] { // by hand, and some others
		for i := range c.Gates {
			g := apiGate(0)
			g.Feature, g.Event, g.Triggers = c.Gates[i].Feature, c.Gates[i].Feature, c.Gates[i].Triggers
			c.Gates[i] = g
		}
		srv, _ := serveGates(t, answer(http.StatusTeapot), c.Gates...)
		status, document := asked(t, srv, c.Method, c.Target)
		switch {
		case status == http.StatusBadRequest && document.Type != gate.TypeUnreadable: // the server itself refuses it
		case c.Refused && status != http.StatusBadRequest, !c.Refused && c.Want == nil && status != http.StatusTeapot,
			c.Want != nil && (status != http.StatusPaymentRequired || c.Method != "HEAD" && document.Feature != *c.Want):
			t.Errorf("%s %q: %d %+v, want %+v", c.Method, c.Target, status, document, c)
		}
	}
}

// TestMiddlewareJudgesByEveryGate: a path that apps may read as that of two gates
// must be let through by both, and is a use of both.
func TestMiddlewareJudgesByEveryGate(t *testing.T) {
	t.Parallel()
	gateOf := func(feature string, limit int64, endpoint string) events.Gate {
		g := apiGate(limit)
		g.Feature, g.Event, g.Triggers = feature, feature, []events.Trigger{{Endpoint: endpoint}}
		return g
	}
	const both = "/api/x/%2e%2e/export"
	srv, uses := serveGates(t, answer(200), gateOf("all", 2, "/api/*"), gateOf("export", 100, "/api/export"))
	for i, want := range []int{200, 200, 402} {
		if status, document := asked(t, srv, "GET", both); status != want || want == 402 && document.Feature != "all" {
			t.Errorf("request %d: %d %+v, want %d", i, status, document, want)
		}
	}
	if status, _ := asked(t, srv, "GET", "/api/export"); status != 200 {
		t.Errorf("the other gate: %d", status)
	}
	if n := uses(); n != 5 {
		t.Errorf("%d uses were recorded, want 2 of each, and 1", n)
	}
}

// TestMiddlewareNamesUsesOfSeveralGates: the app's own id is one event's, and an
// event that gates share counts once.
func TestMiddlewareNamesUsesOfSeveralGates(t *testing.T) {
	t.Parallel()
	all, export, shared := apiGate(100), apiGate(100), apiGate(100)
	all.Feature, all.Event, all.Triggers = "all", "all", []events.Trigger{{Endpoint: "/api/*"}}
	export.Feature, export.Event, export.Triggers = "export", "export", []events.Trigger{{Endpoint: "/api/export"}}
	shared.Feature, shared.Event, shared.Triggers = "shared", "all", []events.Trigger{{Endpoint: "/api/x/*"}}
	c, m := inMemory(t, nil, all, export, shared)
	h := c.Middleware(customerOf, UsageOf(func(*http.Request) Usage { return Usage{ID: "1"} }))(answer(200))
	ask(h, "GET", "http://x/api/x/../export", "bob")
	ask(h, "GET", "http://x/api/x/%2e%2e/y", "bob")
	recorded(t, c, m)
	var got []string
	for _, e := range m.Usage() {
		got = append(got, e.Type+" "+e.ID)
	}
	slices.Sort(got)
	if want := []string{"all 1", "all 1/all", "export 1"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}
