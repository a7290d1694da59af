package ingest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// raw sends a request whose target and headers no client would write.
func (b *bench) raw(method, target string, headers ...string) answer {
	b.t.Helper()
	return b.rawRequest(method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + strings.Join(append(headers, "", ""), "\r\n"))
}

// TestAuthRefusesContradictions: what a visitor sends besides the gateway's own
// headers does not win; the request is refused.
func TestAuthRefusesContradictions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.cache.set(blocked("full", "api"))
	const (
		post, get = "X-Original-Method: POST", "X-Forwarded-Method: GET"
		uri, free = "X-Original-Uri: /api/features/x?a=1", "X-Forwarded-Uri: /free"
		full      = "X-Customer-Id: full"
	)
	for _, c := range []struct {
		name, method, target string
		headers              []string
		status               int
	}{
		{"nothing else", "GET", "/v1/auth", []string{post, uri, full}, 402},
		{"the same said twice", "GET", "/v1/auth", []string{post, "X-Forwarded-Method: POST", uri, "X-Forwarded-Uri: /api/features/x?b", "X-Original-Url: https://h/api/features/x", full}, 402},
		{"the same behind the path", "POST", "/v1/auth/api/features/x?a", []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /api/features/x", full}, 402},
		{"empty ones say nothing", "GET", "/v1/auth", []string{post, uri, "X-Forwarded-Uri:", "X-Forwarded-Method:", full}, 402},
		{"underscores are other headers", "GET", "/v1/auth", []string{post, uri, "X_Forwarded_Uri: /free", "X_Original_Uri: /free", "X_Customer_Id: other", full}, 402},
		{"another path", "GET", "/v1/auth", []string{post, uri, free, full}, 400},
		{"another path, first", "GET", "/v1/auth", []string{free, post, uri, full}, 400},
		{"another path, of another kind", "GET", "/v1/auth", []string{post, uri, "X-Original-Url: http://h/free", full}, 400},
		{"a header twice", "GET", "/v1/auth", []string{post, uri, "X-Original-Uri: /free", full}, 400},
		{"another method", "GET", "/v1/auth", []string{post, get, uri, full}, 400},
		{"a method twice", "GET", "/v1/auth", []string{post, "X-Original-Method: GET", uri, full}, 400},
		{"methods that a proxy joined", "GET", "/v1/auth", []string{"X-Original-Method: POST, GET", uri, full}, 400},
		{"paths that a proxy joined", "GET", "/v1/auth", []string{post, "X-Original-Uri: /free, /api/features/x", full}, 400},
		{"another path than behind", "POST", "/v1/auth/api/features/x", []string{free, full}, 400},
		{"another method than behind", "POST", "/v1/auth/api/features/x", []string{get, full}, 400},
		{"the root behind, and another", "POST", "/v1/auth/", []string{uri, full}, 400},
		{"a customer twice", "GET", "/v1/auth", []string{post, uri, full, "X-Customer-Id: other"}, 400},
		{"a customer twice, without a gate", "GET", "/v1/auth", []string{post, "X-Original-Uri: /free", full, full}, 400},
		{"a key twice", "GET", "/v1/auth", []string{post, uri, full, "X-Tidegate-Key: a", "X-Tidegate-Key: b"}, 400},
		{"recording twice", "GET", "/v1/auth", []string{post, uri, full, "X-Tidegate-Record: 0", "X-Tidegate-Record: 1"}, 400},
		{"a customer that can be none", "GET", "/v1/auth", []string{post, uri, "X-Customer-Id: " + strings.Repeat("x", 257)}, 400},
		{"no customer", "GET", "/v1/auth", []string{post, uri, "X-Customer-Id:"}, 401},
	} {
		a := b.raw(c.method, c.target, c.headers...)
		if a.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.status, a.body)
		}
		if c.status != 400 || c.target != "/v1/auth" {
			continue
		}
		a = b.raw(c.method, c.target+"?deny=403", c.headers...)
		var p map[string]any
		ok(t, json.Unmarshal([]byte(a.header.Get("X-Tidegate-Problem")), &p))
		if a.status != 403 || a.header.Get("X-Tidegate-Status") != "400" || p["status"] != 400.0 || p["detail"] == "" {
			t.Errorf("%s, for nginx: %d %v", c.name, a.status, a.header)
		}
	}
}

// TestAuthReadsEverySpelling: how a visitor writes the path makes no difference, in
// a header or behind /v1/auth.
func TestAuthReadsEverySpelling(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.cache.set(blocked("full", "api"))
	for target, status := range map[string]int{
		"/api/features/x": 402, "/api/features/x?next=http://a": 402, "/api/features/x/..": 402, "/api/features/x/../y": 402, "/api/features/%2e%2e%2fz": 402,
		"/x/../api/features/y": 402, "//api//features/x": 402, "/./api/features/x": 402, "/api/features/%252e": 402, "/api;a=b/features/x": 402, "/api\\features\\x": 402,
		"//h/api/features/x": 402, "/%2561pi/features/x": 402, "/x/..%2fapi/features/x": 402, "/free#/../api/features/x": 402,
		"/free": 204, "/": 204, "/API/features/x": 204, "/free?x=/api/features/x": 204,
		"/api/features/x%00": 400, "/free/%zz": 400, "/free/%ff": 400, "/free/%0a": 400, "/free/" + strings.Repeat("x", 9000): 400,
	} {
		for _, method := range []string{"POST", "post"} {
			if a := b.raw("GET", "/v1/auth", "X-Original-Method: "+method, "X-Original-Uri: "+target, "X-Customer-Id: full"); a.status != status {
				t.Errorf("%s %s in a header: %d, want %d: %s", method, target, a.status, status, a.body)
			}
		}
		a := b.raw("POST", "/v1/auth"+target, "X-Customer-Id: full") // Go's server itself refuses some
		if want := status; a.status != want {
			t.Errorf("%s behind: %d, want %d: %s", target, a.status, want, a.body)
		}
	}
	if a := b.raw("POST", "/v1/%61uth/api/features/x", "X-Customer-Id: full"); a.status != 400 {
		t.Errorf("an address that no gateway writes: %d", a.status)
	}
	if a := b.raw("GET", "/v1/auth", "X-Original-Method: POST", "X-Original-Uri: /free/%zz"); a.status != 400 || a.json(t)["type"] != "urn:tidegate:unreadable" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestAuthOptionsAreTheGateways: behind /v1/auth/ the query is the visitor's, also
// that of the root.
func TestAuthOptionsAreTheGateways(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.cache.set(blocked("full", "api"))
	for _, target := range []string{"/v1/auth/api/features/x?record=1", "/v1/auth/api/features/x/?record=1&deny=403"} {
		if a := b.raw("POST", target, "X-Customer-Id: acme"); a.status != 204 || a.header.Get("X-Tidegate-Recorded") != "" {
			t.Errorf("%s: %d %v", target, a.status, a.header)
		}
		if a := b.raw("POST", strings.Replace(target, "record=1", "deny=403", 1), "X-Customer-Id: full"); a.status != 402 {
			t.Errorf("%s: %d", target, a.status)
		}
	}
}

// TestAuthJudgesByEveryGate: a path that apps may read as that of two gates must be
// let through by both, and is a use of both.
func TestAuthJudgesByEveryGate(t *testing.T) {
	t.Parallel()
	catalog := testCatalog()
	reports := catalog.Gates[0]
	reports.Feature, reports.Meter.Event, reports.Triggers = "reports", "reports", []events.Trigger{{Endpoint: "/reports/*"}}
	catalog.Gates = append(catalog.Gates, reports)
	b := newBench(t, func(o *Options) { o.Catalog = func() *gate.Catalog { return &catalog } })
	a := b.raw("POST", "/v1/auth/api/features/x/../../../reports/y", "X-Customer-Id: acme", "X-Tidegate-Record: 1")
	if a.status != 204 || a.header.Get("X-Tidegate-Recorded") != "true" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	types := map[string]int{}
	for _, u := range b.usage() {
		types[u.Type]++
	}
	if len(types) != 2 || types["api"] != 1 || types["reports"] != 1 {
		t.Errorf("recorded %v", types)
	}
	for _, feature := range []string{"api", "reports"} {
		customer := "without " + feature
		b.cache.set(blocked(customer, feature))
		a := b.raw("POST", "/v1/auth/api/features/x/../../../reports/y", "X-Customer-Id: "+customer)
		if a.status != 402 || a.json(t)["feature"] != feature {
			t.Errorf("%s: %d %s", customer, a.status, a.body)
		}
	}
}
