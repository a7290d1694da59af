package client

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/client/internal/memory"
	"github.com/tidegate-io/tidegate/events"
)

func customerOf(r *http.Request) string { return r.Header.Get("X-Customer") }

func ask(h http.Handler, method, path, customer string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("X-Customer", customer)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func recorded(t *testing.T, c *Client, m *memory.Server) int {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return len(m.Usage())
}

func answer(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "done")
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	c, m := inMemory(t, nil, apiGate(2))
	gate := c.Gate("api", customerOf)
	for _, status := range []int{500, 404, 200, 302} { // two of them are uses
		if w := ask(gate(answer(status)), "POST", "/", "bob"); w.Code != status || w.Body.String() != "done" {
			t.Errorf("answered %d %s, want %d", w.Code, w.Body, status)
		}
	}
	w := ask(gate(answer(200)), "POST", "/", "bob")
	if w.Code != http.StatusPaymentRequired || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("blocked: %d %v", w.Code, w.Header())
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"title": "Limit reached", "status": 402.0, "detail": "Upgrade to continue.", "feature": "api", "limit": 2.0, "used": 2.0, "upgrade_url": "https://acme.example/pricing"} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if n := recorded(t, c, m); n != 2 {
		t.Errorf("%d uses were recorded, want 2", n)
	}
	if e := m.Usage()[0]; e.Subject != "bob" || e.Type != "api" {
		t.Errorf("recorded %+v", e)
	}
}

func TestGateAnswersByReason(t *testing.T) {
	t.Parallel()
	none := apiGate(1)
	none.InPlan = false
	c, m := inMemory(t, []Option{FailClosed("unknown")}, none)
	if w := ask(c.Gate("api", customerOf)(answer(200)), "GET", "/", "bob"); w.Code != http.StatusForbidden {
		t.Errorf("not in the plan: %d %s", w.Code, w.Body)
	}
	if w := ask(c.Gate("unknown", customerOf)(answer(200)), "GET", "/", "bob"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("fail closed: %d %s", w.Code, w.Body)
	}
	if w := ask(c.Gate("api", customerOf)(answer(200)), "GET", "/", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("nobody: %d %s", w.Code, w.Body)
	}
	if w := ask(c.Gate("api", customerOf, AllowAnonymous())(answer(200)), "GET", "/", ""); w.Code != 200 {
		t.Errorf("anonymous: %d", w.Code)
	}
	teapot := OnBlocked(func(w http.ResponseWriter, _ *http.Request, d events.Decision) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, string(d.Reason))
	})
	if w := ask(c.Gate("api", customerOf, teapot)(answer(200)), "GET", "/", "bob"); w.Code != http.StatusTeapot || w.Body.String() != "not_in_plan" {
		t.Errorf("own answer: %d %s", w.Code, w.Body)
	}
	if n := recorded(t, c, m); n != 0 {
		t.Errorf("%d uses were recorded", n)
	}
}

func TestGateOptions(t *testing.T) {
	t.Parallel()
	c, m := inMemory(t, nil, apiGate(10))
	usage := UsageOf(func(r *http.Request) Usage { return Usage{ID: r.Header.Get("Idempotency-Key"), Value: 3} })
	ask(c.Gate("api", customerOf, CheckOnly())(answer(200)), "GET", "/", "bob")
	if n := recorded(t, c, m); n != 0 {
		t.Errorf("check only: %d uses", n)
	}
	ask(c.Gate("api", customerOf, usage)(answer(200)), "GET", "/", "bob")
	if n := recorded(t, c, m); n != 1 || string(m.Usage()[0].Data) != `{"value":3}` {
		t.Errorf("own usage: %v", m.Usage())
	}
	func() {
		defer func() { _ = recover() }()
		ask(c.Gate("api", customerOf)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no") })), "GET", "/", "bob")
	}()
	if n := recorded(t, c, m); n != 1 {
		t.Errorf("a panic is a use: %d", n)
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	get := apiGate(0)
	get.Feature, get.Triggers = "reads", []events.Trigger{{Endpoint: "/api/reports/*", Method: "GET"}}
	exact := apiGate(0)
	exact.Feature, exact.Triggers = "export", []events.Trigger{{Endpoint: "/api/export"}}
	c, m := inMemory(t, nil, apiGate(100), get, exact)
	h := c.Middleware(customerOf)(answer(200))
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/api/x", 200}, {"GET", "/api/x", 200}, {"GET", "/", 200}, {"GET", "/api/export", 402}, {"POST", "/api/export", 402},
		{"GET", "/api/reports/1", 402}, {"POST", "/api/reports/1", 200}, {"GET", "/other/../api//reports/1", 402}, {"GET", "/api/reports", 402},
		{"GET", "/api/exports", 200}, {"GET", "/api/reports/", 402},
	} {
		if w := ask(h, tt.method, "http://x"+tt.path, "bob"); w.Code != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, w.Code, tt.want)
		}
	}
	if n := recorded(t, c, m); n != 2 {
		t.Errorf("%d uses were recorded, want 2", n)
	}
	before, _ := New(nil, InMemory(&memory.Server{}), FailClosed())
	defer func() { _ = before.Close(t.Context()) }()
	if w := ask(before.Middleware(customerOf)(answer(200)), "GET", "/", "bob"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("before the first sync: %d", w.Code)
	}
}

// TestTriggers holds the rule at the middleware: who is blocked, and what counts.
func TestTriggers(t *testing.T) {
	t.Parallel()
	gateOf := func(feature string, limit int64, method, endpoint string) events.Gate {
		g := apiGate(limit)
		g.Feature, g.Event, g.Triggers = feature, feature, []events.Trigger{{Endpoint: endpoint, Method: method}}
		return g
	}
	for _, tt := range []struct {
		name     string
		gates    []events.Gate
		requests []string
		want     []int
		recorded int
	}{
		{"the most specific decides alone", []events.Gate{gateOf("all", 2, "POST", "/api/*"), gateOf("export", 100, "POST", "/api/export")},
			[]string{"POST /api/export", "POST /api/export", "POST /api/export", "POST /api/export"}, []int{200, 200, 200, 200}, 4},
		{"a slash at the end", []events.Gate{gateOf("slash", 1, "", "/slash/")}, []string{"GET /slash", "GET /slash", "GET /slash/"}, []int{200, 402, 402}, 1},
		{"a segment", []events.Gate{gateOf("reports", 1, "", "/users/{id}/reports")}, []string{"GET /users/5/reports", "GET /users/6/reports", "GET /users/6"}, []int{200, 402, 200}, 1},
		{"HEAD counts as GET", []events.Gate{gateOf("get", 1, "GET", "/r")}, []string{"HEAD /r", "GET /r", "POST /r"}, []int{200, 402, 200}, 1},
		{"OPTIONS never", []events.Gate{gateOf("any", 1, "", "/r")}, []string{"OPTIONS /r", "OPTIONS /r", "GET /r", "OPTIONS /r"}, []int{200, 200, 200, 200}, 1},
		{"decoded", []events.Gate{gateOf("any", 0, "", "/api/features/*")}, []string{"GET /api/%66eatures/x", "GET /api//features/x", "GET /x/%2e%2e/api/features/y"}, []int{402, 402, 402}, 0},
	} {
		c, m := inMemory(t, nil, tt.gates...)
		h := c.Middleware(customerOf)(answer(200))
		for i, r := range tt.requests {
			method, path, _ := strings.Cut(r, " ")
			if w := ask(h, method, "http://x"+path, "bob"); w.Code != tt.want[i] {
				t.Errorf("%s: %s (%d): %d, want %d", tt.name, r, i, w.Code, tt.want[i])
			}
		}
		if n := recorded(t, c, m); n != tt.recorded {
			t.Errorf("%s: %d uses were recorded, want %d", tt.name, n, tt.recorded)
		}
	}
}

func TestWriterKeepsWhatTheServerCan(t *testing.T) {
	t.Parallel()
	c, m := inMemory(t, nil, apiGate(10))
	srv := httptest.NewServer(c.Gate("api", func(*http.Request) string { return "bob" })(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Flusher); !ok {
			t.Error("no Flusher")
		}
		rc := http.NewResponseController(w)
		if err := rc.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/hijack" {
			conn, _, err := rc.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			_ = conn.Close()
			return
		}
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusConflict)
		if err := rc.Flush(); err != nil {
			t.Error(err)
		}
	})))
	for path, want := range map[string]int{"/": http.StatusConflict, "/hijack": http.StatusNoContent} {
		res, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	srv.Close()
	if n := recorded(t, c, m); n != 1 { // the hijacked one
		t.Errorf("%d uses, want 1", n)
	}
}
