package main

import (
	"math/rand/v2"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

const aboutTrigger = "Which of the gates a request meets: its method, and its target as it was sent. `want` is a feature, or null where the request meets none."

type triggerCase struct {
	Name   string        `json:"name,omitempty"`
	Gates  []triggerGate `json:"gates"`
	Method string        `json:"method"`
	Target string        `json:"target"`
	Want   *string       `json:"want"`
}

type triggerGate struct {
	Feature  string           `json:"feature"`
	Triggers []events.Trigger `json:"triggers"`
}

func (c triggerCase) done() any {
	gates := make([]events.Gate, len(c.Gates))
	for i, g := range c.Gates {
		gates[i] = events.Gate{Feature: g.Feature, Triggers: g.Triggers}
	}
	if i, ok := gate.NewRoutes(gates).Match(c.Method, gate.Spellings(c.Target)...); ok {
		c.Want = &gates[i].Feature
	}
	return c
}

func trigger(method, endpoint string) []events.Trigger {
	return []events.Trigger{{Method: method, Endpoint: endpoint}}
}

func triggerByHand() []any {
	overlapping := []triggerGate{{"all", trigger("POST", "/api/*")}, {"export", trigger("POST", "/api/export")}}
	mixed := []triggerGate{
		{"slash", trigger("", "/slash/")}, {"reports", trigger("", "/users/{id}/reports")}, {"reads", trigger("GET", "/reads/*")},
		{"loose", []events.Trigger{{Endpoint: "/Loose/*", IgnoreCase: true}}}, {"list", append(trigger("PUT", "/one"), trigger("PATCH", "/two")...)},
		{"any", trigger("", "/m")}, {"post", trigger("POST", "/m")}, {"begin", trigger("", "/beg*")}, {"inner", trigger("", "/in/*/ner")},
	}
	var out []any
	add := func(gates []triggerGate, requests ...string) {
		for _, r := range requests {
			method, target, _ := strings.Cut(r, " ")
			out = append(out, triggerCase{Gates: gates, Method: method, Target: target}.done())
		}
	}
	add(overlapping, "POST /api/export", "POST /api/export/", "POST /api/exports", "POST /api", "POST /api/", "GET /api/export", "OPTIONS /api/export", "post /api/export",
		"POST //api//export", "POST /api/./export", "POST /x/../api/export", "POST /api/%65xport", "POST /%2e%2e/api/export", "POST /api/export?x=/y", "POST /x?y=/api/export",
		"POST http://acme.example/api/export", "POST https://acme.example", "POST /api/export#top", "POST /x?next=http://a/api/export", "POST /API/export", "POST /api/%zz",
		"POST /api%2fexport", "POST /api/export/..", "POST ")
	add(mixed, "GET /slash", "GET /slash/", "POST /slash", "GET /slash/x", "GET /users/5/reports", "GET /users/5/reports/", "GET /users//reports", "GET /users/5/6/reports",
		"HEAD /reads/1", "OPTIONS /reads/1", "GET /reads", "POST /reads/1", "GET /LOOSE/x", "GET /loose", "PUT /one", "PATCH /two", "PUT /two", "POST /m", "DELETE /m",
		"OPTIONS /m", "GET /beginning", "GET /beg", "GET /be", "GET /in/x/ner", "GET /in/ner", "GET /in/x/y/ner", "GET /users/%35/reports", "GET /users/a%2Fb/reports", "GET /")
	return out
}

func drawTrigger(r *rand.Rand) any {
	segment := func() string { return pick(r, "a", "b", "ab", "A", "{id}", "*") }
	var c triggerCase
	for i := range 1 + r.IntN(4) {
		parts := make([]string, r.IntN(4))
		for j := range parts {
			parts[j] = segment()
		}
		endpoint := "/" + strings.Join(parts, "/")
		if n := len(parts); one(r, 3) && (n == 0 || parts[n-1] != "*" && parts[n-1] != "{id}") {
			endpoint += "*"
		}
		c.Gates = append(c.Gates, triggerGate{string(rune('p' + i)), []events.Trigger{{Endpoint: endpoint, Method: pick(r, "", "", "GET", "POST"), IgnoreCase: one(r, 5)}}})
	}
	parts := make([]string, r.IntN(4))
	for i := range parts {
		parts[i] = pick(r, "a", "b", "ab", "abc", "A", "%61", "..", ".", "", "a%2Fb", "%2e%2e", "a b", "é")
	}
	c.Target = "/" + strings.Join(parts, "/") + pick(r, "", "", "/", "?a=b", "?/a", "#/a")
	c.Method = pick(r, "GET", "GET", "POST", "HEAD", "OPTIONS", "get", "PUT")
	return c.done()
}
