package gate

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
)

// TestReadings: the readings of a path are closed under every rewrite, and one that
// is read at once is not concerned by any.
func TestReadings(t *testing.T) {
	t.Parallel()
	part := rapid.SampledFrom([]string{"/", "/", "/", "a", "..", ".", "%2e", "%2f", "%252F", "%25", "//", `\`, "%5c", ";", "#", "é", "%c3%a9", "%20", "x;y"})
	rapid.Check(t, func(t *rapid.T) {
		path := "/" + strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, "parts"), "")
		all, err := readings(nil, path, "")
		if err != nil {
			return
		}
		for _, r := range all {
			for i, rewrite := range rewrites {
				if next := rewrite(r.path[0]); !slices.Contains(all, reading{path: [2]string{next}}) {
					t.Fatalf("%q: %q is rewritten by %d to %q, which is not among %q", path, r.path[0], i, next, all)
				}
			}
		}
	})
}

// TestAnAliasIsOneMoreName: of a target with two names the most specific trigger
// decides alone.
func TestAnAliasIsOneMoreName(t *testing.T) {
	t.Parallel()
	routes := NewRoutes(routesOf(t, "mounted: /v2/*", "exact: /a", "escaped: /é", "space: /%20"))
	for _, tt := range []struct {
		target, alias string
		want          int
	}{
		{"/v2/a", "/a", 1}, {"/v2/a", "/v2/a", 0}, {"/v2/a", "", 0}, {"/x", "/a?b", 1}, {"/v2/%C3%A9", "/%C3%A9", 2}, {"/v2//a", "/a", 1},
		{"/v2/%20", "/%20", 3}, {"/%20", "", 3},
	} {
		met, err := routes.Match(nil, "GET", tt.target, tt.alias)
		if err != nil || len(met) != 1 || met[0] != tt.want {
			t.Errorf("%s or %s: %v, %v, want %d", tt.target, tt.alias, met, err, tt.want)
		}
	}
	if _, err := routes.Match(nil, "GET", "/a", "/%zz"); !errors.Is(err, ErrTarget) {
		t.Errorf("an alias that cannot be read: %v", err)
	}
}

// TestTheLongestPath: what is too long to be read in every way is refused.
func TestTheLongestPath(t *testing.T) {
	t.Parallel()
	for begin, most := range map[string]int{"/": maxPath, "/%20": maxPath, "//": maxOddPath, "/;": maxOddPath, "/%2F": maxOddPath} {
		for over := range 2 {
			_, err := readings(nil, begin+strings.Repeat("a", most-len(begin)+over), "")
			if refused := errors.Is(err, ErrTarget); refused != (over > 0) {
				t.Errorf("%q, %d bytes too long: %v", begin, over, err)
			}
		}
	}
}

// fuzzed are the routes of FuzzTarget as an app has them: patterns of net/http, and
// the expression that Starlette makes of the same path. A slash at the end is the
// same to triggers, so it is to the app.
var fuzzed = []struct {
	feature, method, endpoint string
	patterns                  []string
	starlette                 *regexp.Regexp
}{
	{"features", "POST", "/api/features/*", []string{"/api/features", "/api/features/{rest...}"}, regexp.MustCompile(`^/api/features(/.*)?\n?$`)},
	{"export", "POST", "/api/export", []string{"/api/export", "/api/export/{$}"}, regexp.MustCompile(`^/api/export/?\n?$`)},
	{"reports", "GET", "/users/{id}/reports", []string{"/users/{id}/reports"}, regexp.MustCompile(`^/users/[^/]+/reports\n?$`)},
	{"all", "POST", "/api/*", []string{"/api", "/api/{rest...}"}, regexp.MustCompile(`^/api(/.*)?\n?$`)},
	{"letters", "GET", "/é/*/%41%20b", []string{"/é/{x}/A b"}, regexp.MustCompile(`^/é/[^/]+/A b\n?$`)},
}

// FuzzTarget: whatever reaches a handler, in net/http or Starlette, at once or where
// a redirect leads, meets the handler's gate or is refused.
func FuzzTarget(f *testing.F) {
	table, err := os.ReadFile("../../docs/vectors/trigger.json")
	if err != nil {
		f.Fatal(err)
	}
	var vectors struct {
		Cases []struct{ Method, Target string }
	}
	if err := json.Unmarshal(table, &vectors); err != nil {
		f.Fatal(err)
	}
	for _, c := range vectors.Cases {
		f.Add(c.Method, c.Target)
	}
	var gates []events.Gate
	mux := http.NewServeMux()
	for i, r := range fuzzed {
		gates = append(gates, events.Gate{Feature: r.feature, Triggers: []events.Trigger{{Method: r.method, Endpoint: r.endpoint}}})
		for _, p := range r.patterns {
			mux.HandleFunc(r.method+" "+p, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Gate", string(rune('0'+i))) })
		}
	}
	routes := NewRoutes(gates)
	f.Fuzz(func(t *testing.T, method, target string) {
		met, err := routes.Match(nil, method, target, "")
		if err != nil {
			return
		}
		if i := throughMux(t, mux, routes, method, target); i >= 0 && !slices.Contains(met, i) {
			t.Fatalf("net/http leads %s %q to %s; it meets %v", method, target, fuzzed[i].feature, met)
		}
		path, _, _ := strings.Cut(target, "?")
		for i, r := range fuzzed {
			if method == r.method && r.starlette.MatchString(unquoted(path)) {
				if !slices.Contains(met, i) {
					t.Fatalf("Starlette leads %s %q to %s; it meets %v", method, target, fuzzed[i].feature, met)
				}
				break // the first that fits
			}
		}
	})
}

// throughMux returns which handler a request reaches in the end, -1 for none. On the
// way, as a server has read it, it also meets the gate by the client's rule.
func throughMux(t *testing.T, mux *http.ServeMux, routes *Routes, method, target string) int {
	for range 4 {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil {
			return -1
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if at := w.Header().Get("X-Gate"); at != "" {
			i := int(at[0] - '0')
			if met, err := routes.Match(nil, r.Method, r.RequestURI, r.URL.EscapedPath()); err == nil && !slices.Contains(met, i) {
				t.Fatalf("net/http leads %s %q to %s; in the middleware it meets %v", method, target, fuzzed[i].feature, met)
			}
			return i
		}
		if target = w.Header().Get("Location"); target == "" {
			return -1
		}
	}
	return -1
}

// unquoted is urllib.parse.unquote.
func unquoted(path string) string {
	var out strings.Builder
	for path != "" {
		if len(path) >= 3 && path[0] == '%' {
			if s, err := url.PathUnescape(path[:3]); err == nil {
				out.WriteString(s)
				path = path[3:]
				continue
			}
		}
		out.WriteByte(path[0])
		path = path[1:]
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD")
}
