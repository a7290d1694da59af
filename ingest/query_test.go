package ingest

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// example is a path that a route takes.
func (r *route) example() string {
	return strings.NewReplacer("{feature}", "api", "{id}", "acme", "{rest...}", "x", "{token}", "x", "{$}", "").Replace(r.path)
}

// TestUnknownParameters: every route refuses parameters that it does not know, ones that
// stand twice, and a query that cannot be read. Only addresses to which others add their
// own parameters pass over them.
func TestUnknownParameters(t *testing.T) {
	t.Parallel()
	b := newBench(t, linkOptions)
	for _, r := range append(b.srv.privateRoutes(), b.srv.publicRoutes()...) {
		method := r.method
		if method == "" {
			method = "GET"
		}
		for _, query := range []string{"utm_source=mail", "customer=acme&utm_source=mail", "Customer=acme", ";x=1", "a;b", "x=%zz", "%zz", "=", "cursor=&cursor=", "limit=1&limit=1",
			"record=1&record=1", "record=2", "record=", "deny=402", "deny=%00"} {
			a := b.call(method, r.example()+"?"+query, "{}")
			tolerant := r.kind == public || r.path == behindAuth
			if about := strings.Contains(string(a.body), "parameter") || strings.Contains(string(a.body), "in the query"); (a.status == 400 && about) == tolerant {
				t.Errorf("%s %s?%s: %d %s", method, r.path, query, a.status, a.body)
			}
		}
	}
	for _, q := range []string{"q=acm", "feature=api", "sort=used", "near=0.8&q=x"} { // none of these is there yet
		p := b.want(400, "GET", "/v1/customers?"+q, "").json(t)
		if detail := p["detail"].(string); !strings.Contains(detail, "no parameter") || !strings.Contains(detail, "idle") {
			t.Error(detail)
		}
	}
	b.want(405, "PATCH", "/v1/gates?x=1", "")
	b.want(404, "GET", "/nothing?x=1", "")
	b.want(200, "GET", "/v1/gates?", "")
	b.want(200, "GET", "/v1/gates?&&", "")
}

// TestUncleanPaths: a path with dots or nothing between two slashes is refused, not
// redirected to another customer. What is escaped is an id.
func TestUncleanPaths(t *testing.T) {
	t.Parallel()
	b := newBench(t, linkOptions)
	outside := httptest.NewServer(b.srv.PublicHandler())
	t.Cleanup(outside.Close)
	inside := b.url
	for _, url := range []string{inside, outside.URL} {
		b.url = url
		for _, path := range []string{"/v1/customers/..", "/v1/customers/.", "/v1/customers/x/../victim", "//v1/customers/x", "/v1//customers", "/v1/customers//", "//", "/./", "/..",
			"/u/../u/x", "/u//x", "/webhooks/./stripe", "/unsubscribe/x/..", "/v1/customers/..?x=1"} {
			for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PURGE"} {
				a := b.rawRequest(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				if a.status != 400 || a.header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s %s: %d %v %s", method, path, a.status, a.header, a.body)
				}
			}
		}
		for _, path := range []string{"/v1/customers/", "/v1", "/nothing/", "/u/", "/u/x/", "/..x", "/u/x/..."} {
			if a := b.rawRequest("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); a.status != 404 || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %v %s", path, a.status, a.header, a.body)
			}
		}
	}
	b.url = inside
	for _, target := range []string{"CONNECT localhost:80", "CONNECT /v1//gates", "GET http://localhost", "GET http://localhost//v1/gates"} {
		if a := b.rawRequest(target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); a.status != 400 {
			t.Errorf("%s: %d %v %s", target, a.status, a.header, a.body)
		}
	}
	b.want(400, "PUT", "/v1/customers/%2e%2e", "{}")
	b.want(200, "PUT", "/v1/customers/a%2F..%2Fb", `{"email":"ada@acme.example"}`)
}
