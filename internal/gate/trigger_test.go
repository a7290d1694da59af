package gate

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
)

// routesOf reads gates as "feature: METHOD /path", "/path" for any method; a
// final " ~" ignores case.
func routesOf(t testing.TB, lines ...string) []events.Gate {
	t.Helper()
	var gates []events.Gate
	for _, line := range lines {
		feature, said, _ := strings.Cut(line, ": ")
		var tr events.Trigger
		said, tr.IgnoreCase = strings.CutSuffix(said, " ~")
		if tr.Method, tr.Endpoint, _ = strings.Cut(said, " "); tr.Endpoint == "" {
			tr.Method, tr.Endpoint = "", said
		}
		if err := ParseEndpoint(tr.Endpoint); err != nil {
			t.Fatal(err)
		}
		if n := len(gates); n > 0 && gates[n-1].Feature == feature {
			gates[n-1].Triggers = append(gates[n-1].Triggers, tr)
		} else {
			gates = append(gates, events.Gate{Feature: feature, Triggers: []events.Trigger{tr}})
		}
	}
	return gates
}

// featuresOf returns the features that a request meets, or "refused".
func featuresOf(t testing.TB, gates []events.Gate, routes *Routes, method, target string) string {
	t.Helper()
	met, err := routes.Match(nil, method, target, "")
	if errors.Is(err, ErrTarget) {
		return "refused"
	} else if err != nil {
		t.Fatal(err)
	}
	var features []string
	for _, i := range met {
		features = append(features, gates[i].Feature)
	}
	return strings.Join(features, " ")
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		gates []string
		want  map[string]string // request to feature; "": none
	}{
		{"an exact path before a prefix", []string{"all: POST /api/*", "export: POST /api/export"},
			map[string]string{"POST /api/export": "export", "POST /api/export/": "export", "POST /api/x": "all", "GET /api/export": ""}},
		{"a longer prefix before a shorter", []string{"all: /api/*", "deep: /api/a/*", "begin: /api/ab*"},
			map[string]string{"GET /api/a/b": "deep", "GET /api/abc": "begin", "GET /api/x": "all", "GET /api/a": "deep", "GET /api": "all", "GET /apix": ""}},
		{"a slash at the end", []string{"slash: /slash/", "plain: /plain"},
			map[string]string{"GET /slash": "slash", "GET /slash/": "slash", "GET /plain": "plain", "GET /plain/": "plain", "GET /slash/x": ""}},
		{"the root", []string{"root: /", "rest: /*"}, map[string]string{"GET /": "root", "GET /x": "rest", "GET //": "root"}},
		{"segments", []string{"of: GET /users/{id}/reports", "me: GET /users/me/reports", "star: POST /a/*/b", "below: /t/{x}/*"},
			map[string]string{"GET /users/5/reports": "of", "GET /users/me/reports": "me", "GET /users/5/6/reports": "", "GET /users//reports": "",
				"GET /users/5": "", "POST /a/x/b": "star", "POST /a/b": "", "GET /t/1/2/3": "below", "GET /t/1": "below", "GET /t": ""}},
		{"a named method before any", []string{"any: /r", "post: POST /r"}, map[string]string{"POST /r": "post", "PUT /r": "any"}},
		{"HEAD and OPTIONS", []string{"get: GET /r", "any: /s"},
			map[string]string{"HEAD /r": "get", "head /r": "get", "OPTIONS /r": "", "OPTIONS /s": "", "options /s": "any", "DELETE /s": "any"}},
		{"case", []string{"loose: /Api/Export ~", "strict: /Api/Strict"},
			map[string]string{"GET /api/EXPORT": "loose", "GET /Api/Strict": "strict", "GET /api/strict": ""}},
		{"equals: the first", []string{"one: /a/*", "two: /a/*"}, map[string]string{"GET /a/b": "one"}},
		{"a list", []string{"both: GET /a", "both: POST /b"}, map[string]string{"GET /a": "both", "POST /b": "both", "GET /b": ""}},
		{"as sent and as the app sees it", []string{"x: /api/features/*", "q: /a b"},
			map[string]string{"GET /api/%66eatures/x": "x", "GET /free/../api/features/x": "x", "GET //api//features//x": "x", "GET /api/features/%2e%2e/z": "x",
				"GET http://h/api/features/x?y=1": "x", "GET /api/features/x?next=http://a/free": "x", "GET /free?next=/api/features/x": "",
				"GET /free#/api/features/x": "", "GET http://h": "", "GET /a%20b": "q", "GET /api/features/%zz": "refused"}},
	} {
		var gates []events.Gate
		if tt.name == "as sent and as the app sees it" {
			gates = []events.Gate{{Feature: "x", Triggers: []events.Trigger{{Endpoint: "/api/features/*"}}}, {Feature: "q", Triggers: []events.Trigger{{Endpoint: "/a%20b"}}}}
		} else {
			gates = routesOf(t, tt.gates...)
		}
		routes := NewRoutes(gates)
		for request, want := range tt.want {
			method, target, _ := strings.Cut(request, " ")
			if got := featuresOf(t, gates, routes, method, target); got != want {
				t.Errorf("%s: %s meets %q, want %q", tt.name, request, got, want)
			}
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"/", "/*", "/a", "/a/", "/a/*", "/a*", "/a/{id}", "/a/{id}/*", "/a/*/b", "/{a}/{b}", "/a.b/~c", "/é"} {
		if err := ParseEndpoint(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a", "*", "/a b", "/a?b", "/a#b", "/a//b", "/./a", "/a/../b", "/a/**", "/a/x*y/b", "/{}", "/a/{", "/a/{b}c", "/a/{b:path}",
		"/a/{b}*", "/a\tb", "/a/*b"} {
		if err := ParseEndpoint(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		gates []string
		want  string
	}{
		{[]string{"all: POST /api/*", "export: POST /api/export"}, "export over all"},
		{[]string{"export: POST /api/export", "all: POST /api/*"}, "export over all"},
		{[]string{"all: /api/*", "post: POST /api/*"}, "post over all"},
		{[]string{"get: GET /a", "post: POST /a"}, ""},
		{[]string{"one: /a/b", "two: /a/c"}, ""},
		{[]string{"one: /a/{id}", "two: /a/me"}, "two over one"},
		{[]string{"one: /a/{id}/x", "two: /a/me/*"}, "one over two"},
		{[]string{"one: /a/{id}/x", "two: /a/me/y"}, ""},
		{[]string{"one: /a*", "two: /ab*"}, "two over one"},
		{[]string{"one: /a*", "two: /b*"}, ""},
		{[]string{"one: /a*", "two: /b/c"}, ""},
		{[]string{"one: /a*", "two: /ab/c"}, "two over one"},
		{[]string{"one: /a/", "two: /a"}, "one over two =="},
		{[]string{"one: /A ~", "two: /a"}, "one over two =="},
		{[]string{"one: /A", "two: /a"}, ""},
	} {
		gates := routesOf(t, tt.gates...)
		got := ""
		for _, o := range Overlaps(gates) {
			if got = gates[o.Decides].Feature + " over " + gates[o.Other].Feature; o.Same {
				got += " =="
			}
		}
		if got != tt.want {
			t.Errorf("%v: %q, want %q", tt.gates, got, tt.want)
		}
	}
}

// TestOverlapsNamesTheGateThatDecides: two triggers that fit a common
// request overlap, and the one that Overlaps names decides.
func TestOverlapsNamesTheGateThatDecides(t *testing.T) {
	t.Parallel()
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "{id}", "*"})
	endpoint := rapid.Custom(func(t *rapid.T) string {
		e := "/" + strings.Join(rapid.SliceOfN(segment, 0, 3).Draw(t, "segments"), "/")
		if !strings.HasSuffix(e, "*") && !strings.HasSuffix(e, "}") && rapid.Bool().Draw(t, "prefix") {
			e += "*"
		}
		return e
	})
	rapid.Check(t, func(t *rapid.T) {
		gates := make([]events.Gate, 2)
		for i := range gates {
			gates[i] = events.Gate{Triggers: []events.Trigger{{Endpoint: endpoint.Draw(t, "endpoint"), Method: rapid.SampledFrom([]string{"", "GET", "POST"}).Draw(t, "method")}}}
			if ParseEndpoint(gates[i].Triggers[0].Endpoint) != nil {
				return
			}
		}
		target := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "abc"}), 0, 4).Draw(t, "path"), "/")
		fits := func(i int) bool {
			met, err := NewRoutes(gates[i:i+1]).Match(nil, "GET", target, "")
			return len(met) == 1 && err == nil
		}
		if !fits(0) || !fits(1) {
			return
		}
		found := Overlaps(gates)
		met, _ := NewRoutes(gates).Match(nil, "GET", target, "")
		if len(found) != 1 || len(met) != 1 || found[0].Decides != met[0] {
			t.Fatalf("%s: %v: %d decide, said %+v", target, gates, met, found)
		}
	})
}
