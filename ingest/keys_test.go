package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"pgregory.net/rapid"
)

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	all, events := allScopes(), []Scope{ScopeEvents}
	for _, c := range []struct {
		list   string
		secret string // that finds the key at
		place  int
		name   string
		scopes []Scope
		ends   string
	}{
		{"k-1", "k-1", 0, "key1", all, ""},
		{"k-1, k-2", "k-2", 1, "key2", all, ""},
		{"k-1:events", "k-1", 0, "key1", events, ""},
		{"app:k-1:events", "k-1", 0, "app", events, ""},
		{"app : k-1 : read + events", "k-1", 0, "app", []Scope{ScopeRead, ScopeEvents}, ""},
		{"app:k-1:events+events", "k-1", 0, "app", events, ""},
		{hashOf("k-1"), "k-1", 0, "key1", all, ""},
		{hashOf("k-1") + ":events", "k-1", 0, "key1", events, ""},
		{"app:" + hashOf("k-1") + ":events", "k-1", 0, "app", events, ""},
		{"app:" + strings.ToUpper(hashOf("k-1")[7:]) + ":events", strings.ToUpper(hashOf("k-1")[7:]), 0, "app", events, ""}, // a key, not a hash
		{"app:k-1:events@2027-01-31", "k-1", 0, "app", events, "2027-02-01"},
		{"k-1:events@2027-01-31", "k-1", 0, "key1", events, "2027-02-01"},
		{"app:" + hashOf("k-1") + ":events@2028-02-28", "k-1", 0, "app", events, "2028-02-29"},
		{"k@2027-01-31", "k@2027-01-31", 0, "key1", all, ""},
		{"# the apps, all\napp:k-1:events\r\n\n  # others\ndash:k-2:read\n", "k-2", 1, "dash", []Scope{ScopeRead}, ""},
		{"events:read:admin", "read", 0, "events", []Scope{ScopeAdmin}, ""},
	} {
		ks, err := ParseKeys(c.list)
		if err != nil {
			t.Errorf("%s: %v", c.list, err)
			continue
		}
		k := ks.find(c.secret)
		if k == nil || ks.All()[c.place].Name != k.Name || k.Name != c.name || !slices.Equal(k.Scopes, c.scopes) {
			t.Errorf("%s: found %+v", c.list, k)
			continue
		}
		if ends := k.Ends.Format(time.DateOnly); c.ends != "" && ends != c.ends || c.ends == "" && !k.Ends.IsZero() {
			t.Errorf("%s: ends %s, want %q", c.list, ends, c.ends)
		}
	}
	for _, empty := range []string{"", " , ", "# nothing\n"} {
		if ks, err := ParseKeys(empty); err != nil || !ks.Empty() {
			t.Errorf("%q: %v, %v", empty, ks, err)
		}
		if _, err := ParseKeyFile(empty); err == nil {
			t.Errorf("a file with %q was taken: it would open the API", empty)
		}
	}
}

// TestWrongKeysAreNeverQuoted: any part of a malformed list may be a key.
func TestWrongKeysAreNeverQuoted(t *testing.T) {
	t.Parallel()
	const secret = "S3CRET"
	for _, c := range []struct{ list, says string }{
		{":read", "API key 1: it is empty"},
		{"name::read", "API key 1: it is empty"},
		{"fine," + secret + ":write", "API key 2: write name:key:scope+scope"},
		{secret + ":", "write name"},
		{"name:" + secret, "write name"}, // scopes were forgotten: not a key "name" with them
		{"a:events;b:" + secret + ":read", "write name"},
		{"a:events;" + secret, "write name"},
		{"a:b:" + secret + ":read", "write name"},
		{"name:" + secret + ":", "write name"},
		{"sha256:" + secret, "64 hexadecimal digits"},
		{"sha256:events", "64 hexadecimal digits"},
		{"name:sha256:" + secret + ":read", "64 hexadecimal digits"},
		{"name:sha256:" + strings.Repeat("z", 58) + secret + ":read", "64 hexadecimal digits"},
		{"name:" + hashOf(secret), "write name"},
		{secret + strings.Repeat("a", 60) + ":name:read", "its name must have"}, // the wrong way round
		{secret + "/:name:read", "its name must have"},
		{"local:" + secret + ":read", "its name must have"},
		{"config:" + secret + ":read", "its name must have"},
		{"name:key:read@" + secret, "such as 2027-01-31"},
		{"name:key:read@2027-02-30", "such as 2027-01-31"},
		{"a:" + secret + ":read,b:" + secret + ":events", "keys 1 and 2 are the same key"},
		{"a:" + secret + ":read,b:" + hashOf(secret) + ":events", "keys 1 and 2 are the same key"},
		{"a:" + secret + ":read,a:other:events", "keys 1 and 2 have the same name"},
		{"key2:" + secret + ":read,other", "keys 1 and 2 have the same name"},
	} {
		ks, err := ParseKeys(c.list)
		if err == nil {
			t.Errorf("%s was taken: %+v", c.list, ks)
			continue
		}
		if text := err.Error(); !strings.Contains(text, c.says) || strings.Contains(text, secret) {
			t.Errorf("%s: %s", c.list, text)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"Q7x9", "Q7x9", ":", ",", "+", "@", "\n", "sha256", "read", "events", "2027-01-31", " "})
		list := strings.Join(rapid.SliceOf(part).Draw(t, "list"), "")
		if _, err := ParseKeys(list); err != nil && strings.Contains(err.Error(), "Q7x9") {
			t.Fatalf("%q: %v", list, err)
		}
	})
}

func TestCaller(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("app:key of the app:events,ops:key of ops:admin,last:key that ends:read@2026-03-10,gone:key that ended:read@2026-03-09")
	ok(t, err)
	var open atomic.Bool
	s := &Server{Options: Options{Now: func() time.Time { return testNow }, Keys: func() Keys {
		if open.Load() {
			return Keys{}
		}
		return keys
	}}}
	s.bounds, s.counters = s.newBounds(nil), newCounters(metrics.NewSet())
	var logged strings.Builder
	s.Log = slog.New(slog.NewTextHandler(&logged, nil))
	ask := func(scope Scope, key string) (caller, int) {
		r := httptest.NewRequest("GET", "/v1/x", nil)
		if key != "" {
			r.Header.Set("Authorization", "bearer "+key)
		}
		r, err := s.authenticate(r, &route{path: "/v1/x", scope: scope})
		if err != nil {
			return callerOf(r), asProblem(err).Status
		}
		return callerOf(r), 200
	}
	for _, c := range []struct {
		scope  Scope
		key    string
		want   string
		status int
	}{
		{"", "", "", 200},
		{"", "key of ops", "", 200},
		{ScopeEvents, "", "", 401},
		{ScopeEvents, "no key", "", 401},
		{ScopeEvents, "key of the app", "app", 200},
		{ScopeEvents, "key of ops", "ops", 200},
		{ScopeRead, "key of ops", "", 403},
		{ScopeRead, "key of the app", "", 403},
		{ScopeAdmin, "key of the app", "", 403},
		{ScopeRead, "key that ends", "last", 200}, // its last day
		{ScopeRead, "key that ended", "", 401},
	} {
		if who, status := ask(c.scope, c.key); who.Name != c.want || status != c.status {
			t.Errorf("%s with %q: %q and %d, want %q and %d", c.scope, c.key, who.Name, status, c.want, c.status)
		}
	}
	if text := logged.String(); strings.Count(text, "key=gone") != 1 || strings.Contains(text, "key that ended") {
		t.Errorf("logged %s", text)
	}
	open.Store(true)
	for _, scope := range allScopes() {
		if who, status := ask(scope, ""); who.Name != "local" || status != 200 || who.need(scope) != nil {
			t.Errorf("without keys: %+v, %d", who, status)
		}
	}
}

// TestKeysOfAGateway: a visitor's Authorization is not the gateway's, and only
// gateways have a header of their own.
func TestKeysOfAGateway(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("gateway:key of the gateway:read")
	ok(t, err)
	b := newBench(t, func(o *Options) { o.Keys = func() Keys { return keys } })
	own := "X-Tidegate-Key: key of the gateway"
	b.want(http.StatusNoContent, "GET", "/v1/auth", "", own, "Authorization: Bearer of the visitor")
	b.want(http.StatusNoContent, "GET", "/v1/auth/some/path", "", own)
	b.want(http.StatusUnauthorized, "GET", "/v1/auth", "", "X-Tidegate-Key: wrong", "Authorization: Bearer key of the gateway")
	b.want(http.StatusUnauthorized, "GET", "/v1/gates", "", own)
}

// TestWrongKeys are logged without the key, and slowed by address; the right key of the
// same address goes on.
func TestWrongKeys(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("app:the right key:read")
	ok(t, err)
	var logged bytes.Buffer
	var mu sync.Mutex
	b := newBench(t, func(o *Options) {
		o.Keys = func() Keys { return keys }
		o.Log = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return logged.Write(p)
		}), nil))
		o.Bounds = func() *Bounds { return &Bounds{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}} }
	})
	try := func(key, address string) int {
		b.key = key
		a := b.call("GET", "/v1/gates", "", "X-Forwarded-For: "+address)
		if a.status == 429 && a.header.Get("Retry-After") == "" {
			t.Error("it is not said when to come again")
		}
		return a.status
	}
	for i := range wrongMost + 5 {
		want := 401
		if i >= wrongMost {
			want = 429
		}
		if got := try(fmt.Sprint("guess ", i), "192.0.2.7"); got != want {
			t.Errorf("guess %d: %d, want %d", i, got, want)
		}
		if got := try("the right key", "192.0.2.7"); got != 200 {
			t.Errorf("the right key after guess %d: %d", i, got)
		}
	}
	for _, another := range []string{"192.0.2.8", "2001:db8::1"} {
		if got := try("guess", another); got != 401 {
			t.Errorf("%s: %d", another, got)
		}
	}
	mu.Lock()
	text := logged.String()
	mu.Unlock()
	if strings.Count(text, "wrong API keys") != 1 || !strings.Contains(text, "address=192.0.2.7 path=/v1/gates") || strings.Contains(text, "guess") {
		t.Errorf("logged %s", text)
	}
	if page := string(b.call("GET", "/metrics", "").body); !strings.Contains(page, fmt.Sprintf("tidegate_http_wrong_keys_total %d", wrongMost+7)) {
		t.Error("wrong keys are not counted")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func BenchmarkAuthenticate(b *testing.B) {
	keys, err := ParseKeys("dash:0123456789abcdef:read,app:fedcba9876543210:events")
	ok(b, err)
	s := &Server{Options: Options{Now: time.Now, Keys: func() Keys { return keys }}}
	r := httptest.NewRequest("POST", "/v1/events", nil)
	r.Header.Set("Authorization", "Bearer fedcba9876543210")
	rt := &route{path: "/v1/events", scope: ScopeEvents}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.authenticate(r, rt); err != nil {
			b.Fatal(fmt.Errorf("refused: %w", err))
		}
	}
}
