package main

import (
	"math/rand/v2"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

const aboutTrigger = "Which of the gates a request meets: its method, and its target as it was sent. `want` is a feature, or null where the request meets none. Of a path that can be read in several ways, `also` holds the features of other readings. `refused`: the path cannot be read."

type triggerCase struct {
	Name   string        `json:"name,omitempty"`
	Gates  []triggerGate `json:"gates"`
	Method string        `json:"method"`
	Target string        `json:"target"`
	Want   *string       `json:"want"`

	Also    []string `json:"also,omitempty"`
	Refused bool     `json:"refused,omitempty"`
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
	met, err := gate.NewRoutes(gates).Match(nil, c.Method, c.Target, "")
	c.Refused = err != nil
	for i, at := range met {
		if i == 0 {
			c.Want = &gates[at].Feature
		} else {
			c.Also = append(c.Also, gates[at].Feature)
		}
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
	add([]triggerGate{{"any", trigger("GET", "/*")}, {"export", trigger("POST", "/api/export")}, {"features", trigger("POST", "/api/features/*")}, {"reports", trigger("GET", "/users/{id}/reports")},
		{"escaped", trigger("GET", "/a%20b/%C3%A9")}, {"loose", []events.Trigger{{Endpoint: "/Été/κόσμος/*", IgnoreCase: true}}}}, spellings...)
	return out
}

// spellings are requests for what is gated in triggerByHand, each written in a way
// that some app or gateway reads so, and requests that only look like it.
var spellings = []string{
	"POST /api/features/x?next=http://a", "POST /api/features/x/..", "POST /api/features/x/../y", "POST /api/features/%2e%2e%2fz", "POST /api/features/%252e",
	"POST //api//features//x", "POST /./api/./features/./x", "POST /api/features/x;a", "POST /api/features;a=b/x", "POST /api/export;jsessionid=1", "POST /x/..;/api/export",
	"POST /api\\export", "POST \\api\\export", "POST /api%5Cexport", "POST /api/export#", "POST /x#/../api/export", "POST /x%23/../api/export",
	"POST //a.example/api/export", "POST ///a.example/api/export", "POST /\\a.example/api/export", "POST /a.example//api/export", "POST /api//../export",
	"POST http://a.example/api/export", "POST http://u:p@a.example:80/api/export?x", "POST ftp://a.example/api/export", "POST http:/api/export", "POST http://a.example?/api/export",
	"POST /http://a.example/api/export", "POST /api%2Fexport", "POST /api%252Fexport", "POST /api/%2565xport", "POST /api/%25252565xport", "POST /%61pi/features/a%2Fb",
	"POST /api/export/", "POST /api/export//", "POST /api/export/.", "POST /api/export/%2e", "POST /api/export.", "POST /api/export%20", "POST /api/exp+ort", "POST /api/export*",
	"POST /api/export%00", "POST /api/export%0a", "POST /api/export%09", "POST /api/export%7F", "POST /api/export\t", "POST /api/ex port", "POST /%C0%AFapi/export", "POST /%FFapi/export",
	"POST /api/export/%zz", "POST /api/export%", "POST /free/%ED%A0%80", "GET /free/%zz", "POST /free/%25zz", "POST /free/%2500", "POST *", "OPTIONS *", "POST api/export", "POST ",
	"POST /free/%252525252525252525252525252525252525252525252525252525252525252525252525252525252525252525252525252525252525252525",
	"GET /users/a%2Fb/reports", "GET /x/%2e%2e/users/a%2Fb/reports", "GET /%75sers/a%2Fb/reports", "GET /users/../users/1/reports", "GET /users//1//reports", "GET /users/%2e%2e/reports",
	"GET /users/;/reports", "HEAD /users/1/reports", "GET /a%20b/é", "GET /x/../a%20b/%c3%a9", "GET /a b/é",
	"GET /ÉTÉ/ΚΌΣΜΟΣ/x", "GET /éTé/κόσμοσ/x", "GET /%C3%89t%C3%A9/%CE%BA%CF%8C%CF%83%CE%BC%CE%BF%CF%82/x", "options /Été/κόσμος",
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
		parts[i] = pick(r, "a", "b", "ab", "abc", "A", "%61", "..", ".", "", "a%2Fb", "%2e%2e", "a%20b", "é", "a;b", ";", `a\b`, "%2561", "a#", "%5c")
	}
	c.Target = pick(r, "/", "/", "/", "/", "//", "///", `/\`, "http://a/", "/%2F", "a/") + strings.Join(parts, pick(r, "/", "/", "/", "%2f", `\`)) +
		pick(r, "", "", "", "/", "?a=b", "?/a", "#/a", "%zz", "%00", ";a", "/..", "%FF")
	c.Method = pick(r, "GET", "GET", "POST", "HEAD", "OPTIONS", "get", "PUT")
	return c.done()
}
