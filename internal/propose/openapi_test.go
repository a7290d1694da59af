package propose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/gate"

	"pgregory.net/rapid"
)

// described is an OpenAPI document of POST routes.
func described(paths ...string) []byte {
	all := map[string]any{}
	for _, path := range paths {
		all[path] = map[string]any{"post": map[string]any{}}
	}
	document, _ := json.Marshal(map[string]any{"openapi": "3.1.0", "paths": all})
	return document
}

// gated lists gates as "feature: method endpoint, …".
func gated(c *config.Config) []string {
	var all []string
	for _, g := range c.Gates {
		all = append(all, g.Feature+": "+requests(g))
	}
	return all
}

func TestOpenAPIGatesNothingThatItLeavesOut(t *testing.T) {
	for paths, want := range map[string]string{
		"/v1/{tenant}/jobs /v1/login /v1/stripe/webhook":      "jobs: POST /v1/{tenant}/jobs",
		"/{tenant}/jobs /login":                               "jobs: POST /{tenant}/jobs",
		"/users/{id}/avatar /users/{id}/reports /users/login": "users: POST /users/{id}/avatar, POST /users/{id}/reports",
		"/log /log/{id} /login":                               "log: POST /log/*",
		"/reports /reports/{id}/export":                       "reports: POST /reports/*",
		"/{tenant}/jobs/{id} /{tenant}/login":                 "jobs: POST /{tenant}/jobs/*",
		"/a/{id} /{tenant}/{thing}":                           "root: POST /{tenant}/{thing} | a: POST /a/{id}",
		"/users/{id} /users/password /jobs":                   "jobs: POST /jobs",
		"/v1/{id}.pdf /v1/{a}-{b}/c":                          "root: POST /v1/{id} | c: POST /v1/{a_-_b}/c",
		"/api/v2/jobs /api/v2/jobs/{id} /api/v2":              "root: POST /api/v2 | jobs: POST /api/v2/jobs/*",
	} {
		p, err := OpenAPI(described(strings.Fields(paths)...))
		if got := strings.Join(gated(parsed(t, p, err)), " | "); got != want {
			t.Errorf("%s: %s, want %s; left out %q", paths, got, want, p.LeftOut)
		}
	}
	p, err := OpenAPI(described("/users/{id}", "/users/password", "/jobs"))
	parsed(t, p, err)
	want := []string{"POST /users/password (signing in)", "POST /users/{id} (its gate would also hold /users/password, which is left out)"}
	if !slices.Equal(p.LeftOut, want) {
		t.Errorf("left out %q, want %q", p.LeftOut, want)
	}
}

func TestOpenAPIWritesOrNamesOddPaths(t *testing.T) {
	p, err := OpenAPI(described("/upload files", "/50%off", "/caf%C3%A9/{id}", "/q?/#a", "/star/*", "/a//b", "/x/../y", "/bad\x01\u0085", "/open{", "/ok"))
	want := []string{
		"50_off: POST /50%25off", "caf: POST /caf%C3%A9/*", "ok: POST /ok", "q: POST /q%3F/%23a", "star: POST /star/%2A", "upload_files: POST /upload%20files",
	}
	if got := gated(parsed(t, p, err)); !slices.Equal(got, want) {
		t.Errorf("gates %q, want %q", got, want)
	}
	left := strings.Join(p.LeftOut, "\n")
	for _, path := range []string{"/a//b", "/x/../y", `/bad`, "/open{"} {
		if !strings.Contains(left, "POST "+path) {
			t.Errorf("%q is not named in %q", path, left)
		}
	}
}

// No route that is left out meets a gate, and every other one meets its own, by the rule that clients and gateways go by.
func TestOpenAPILeavesRoutesOut(t *testing.T) {
	part := rapid.SampledFrom([]string{"v1", "api", "{a}", "{b}", "{c}.pdf", "jobs", "job", "log", "login", "users", "stripe", "up load", "50%", "x"})
	path := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "parts"), "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfNDistinct(path, 1, 8, template).Draw(t, "paths")
		p, err := OpenAPI(described(paths...))
		if err != nil {
			return // nothing is left to be gated
		}
		text, err := p.YAML()
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse([]byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		var gates []events.Gate
		for _, g := range c.Gates {
			gates = append(gates, events.Gate{Feature: g.Feature, Triggers: g.Triggers})
		}
		routes := gate.NewRoutes(gates)
		left := strings.Join(p.LeftOut, "\n") + "\n"
		for _, path := range paths {
			met, err := routes.Match(nil, "POST", strings.NewReplacer(" ", "%20", "50%", "50%25").Replace(template(path)), "")
			if err != nil {
				t.Fatal(path, err)
			}
			out := strings.Contains(left, "POST "+path+" (")
			if out && len(met) > 0 {
				t.Fatalf("%s is left out and gated by %+v", path, gates[met[0]])
			}
			// An escape may be read in two ways, each of which meets a gate.
			own := func(i int) bool { return slices.Contains(p.Gates[i].Comments, "POST "+path) }
			if !out && (!slices.ContainsFunc(met, own) || len(met) > 1 && !strings.Contains(path, "%")) {
				t.Fatalf("%s is gated by %v of\n%s", path, met, text)
			}
		}
	})
}

// template is a path with values that no other path has.
func template(path string) string { return parameter.ReplaceAllString(path, "-any-") }

func TestOpenAPIManyRoutes(t *testing.T) {
	var paths []string
	for i := range 500 {
		paths = append(paths, fmt.Sprintf("/things%d/{id}/a", i), fmt.Sprintf("/things%d/{id}/b", i), fmt.Sprintf("/login/%d", i))
	}
	p, err := OpenAPI(described(paths...))
	if got := len(parsed(t, p, err).Gates); got != 500 {
		t.Errorf("%d gates", got)
	}
}
