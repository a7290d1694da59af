package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// house is Tidegate's HTTP surface as far as a client asks it, saying what the
// test wants it to.
type house struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	usage    []events.Event
	ids      map[string]int // how often each event came
	refusals []http.HandlerFunc
	told     map[string]string // customer: body
	follows  chan follow
}

// follow is one stream of decisions.
type follow struct {
	lastID string
	say    chan string // "" ends it
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, ids: map[string]int{}, told: map[string]string{}, follows: make(chan follow, 10)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/decisions", h.decisions)
	mux.HandleFunc("POST /v1/events", h.take)
	mux.HandleFunc("PUT /v1/customers/{id}", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told[r.PathValue("id")] = string(b)
	})
	h.Server = httptest.NewServer(mux)
	t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	return h
}

func (h *house) decisions(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer key" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"detail":"the key is not known"}`)
		return
	}
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	f := follow{lastID: r.Header.Get("Last-Event-ID"), say: make(chan string)}
	h.follows <- f
	for {
		select {
		case text := <-f.say:
			if text == "" {
				return
			}
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (h *house) take(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		h.t.Errorf("body: %v", err)
	}
	for _, raw := range list {
		e, err := events.Decode(raw)
		if err != nil {
			h.t.Errorf("%s: %v", raw, err)
		}
		h.usage = append(h.usage, e)
		h.ids[e.ID]++
	}
	if len(h.refusals) > 0 {
		refuse := h.refusals[0]
		h.refusals = h.refusals[1:]
		refuse(w, r)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, `{"accepted":%d,"rejected":[]}`, len(list))
}

func (h *house) refuse(status int, body string) {
	h.refusals = append(h.refusals, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func (h *house) client(opts ...Option) *Client {
	h.t.Helper()
	c, err := NewHTTP(h.URL, "key", opts...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// next is the stream that the client opens next.
func (h *house) next() follow {
	h.t.Helper()
	select {
	case f := <-h.follows:
		return f
	case <-time.After(time.Minute):
		h.t.Fatal("the client does not ask for decisions")
		return follow{}
	}
}

func event(name, id string, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return id + "event: " + name + "\ndata: " + string(b) + "\n\n"
}

func opening(limit int64) string {
	return event("gates", "", events.Gates{Partitions: partitions, DefaultPlan: "free", Gates: []events.Gate{apiGate(limit)}})
}

func synced(resumed bool) string { return event("synced", "", map[string]bool{"resumed": resumed}) }

func TestHTTPDecisionsArriveGoAndAreKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.client()
	if d := c.Check("acme", "api"); !d.Allowed || d.Reason != events.NoDecision {
		t.Errorf("before the first sync: %+v", d)
	}
	f := h.next()
	f.say <- opening(100) + event("decision", "5-x", blocked("acme", time.Now().Add(time.Hour)))
	f.say <- synced(false)
	within(t, c.Synced())
	if c.Check("acme", "api").Allowed || !c.Check("other", "api").Allowed {
		t.Error("the first decisions do not hold")
	}
	lifted := arrival(t, c, "acme", func(d events.Decision) bool { return d.Allowed })
	more := arrival(t, c, "more", func(d events.Decision) bool { return !d.Allowed })
	up, bad := allowed("acme"), "event: decision\nid: 6-x\ndata: {\"customer\":7}\n\nevent: of-the-future\ndata: 1\n\n: still here\n\n"
	up.Position = 9
	f.say <- bad + event("decision", "7-x", up) + event("decision", "8-x", blocked("more", time.Now().Add(time.Hour)))
	within(t, lifted)
	within(t, more)
	f.say <- ""

	// While it is away the decisions stay, and the next stream resumes.
	f = h.next()
	if f.lastID != "8-x" {
		t.Errorf("resumes at %q", f.lastID)
	}
	if !c.Check("acme", "api").Allowed || c.Check("more", "api").Allowed {
		t.Error("decisions were forgotten")
	}
	again := arrival(t, c, "more", func(d events.Decision) bool { return d.Allowed })
	f.say <- opening(100) + event("decision", "9-x", func() events.Decision { d := allowed("more"); d.Position = 10; return d }()) + synced(true)
	within(t, again)
	if !c.Check("acme", "api").Allowed || c.Check("acme", "api").Reason != events.Unlimited {
		t.Error("what was known before the resumption is gone")
	}
	f.say <- ""
	// One that can't resume begins anew: what it does not name is gone.
	f = h.next()
	fresh := arrival(t, c, "fresh", func(d events.Decision) bool { return !d.Allowed })
	f.say <- opening(100) + event("decision", "1-y", blocked("fresh", time.Now().Add(time.Hour))) + synced(false)
	within(t, fresh)
	if d := c.Check("acme", "api"); d.Reason == events.Unlimited {
		t.Errorf("of an old bucket: %+v", d)
	}
}

func TestHTTPUsageIsSentAgainWithTheSameIDs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.refuse(http.StatusServiceUnavailable, `{"detail":"full"}`)
	h.refuse(http.StatusInternalServerError, "oops")
	var mu sync.Mutex
	var reported []string
	c := h.client(Source("test"), OnError(func(err error) { mu.Lock(); defer mu.Unlock(); reported = append(reported, err.Error()) }))
	f := h.next()
	f.say <- opening(3) + synced(false)
	within(t, c.Synced())
	for range 3 {
		if err := c.Record(t.Context(), Usage{Customer: "acme", Event: "api", Value: nil}); err != nil {
			t.Fatal(err)
		}
	}
	if c.Check("acme", "api").Allowed {
		t.Error("it is not counted down")
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	if len(h.ids) != 3 || len(h.usage) < 5 || h.usage[0].Source != "test" || h.usage[0].Subject != "acme" {
		t.Errorf("%d ids in %+v", len(h.ids), h.usage)
	}
	h.refuse(http.StatusBadRequest, `{"rejected":[{"index":0,"id":"x","error":"too old"}]}`)
	h.mu.Unlock()
	if err := c.RecordAck(t.Context(), Usage{Customer: "acme", Event: "api"}); err != nil {
		t.Errorf("what can never count must not be tried for ever: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if all := strings.Join(reported, "\n"); !strings.Contains(all, "503 full") || !strings.Contains(all, "too old") {
		t.Errorf("reported %s", all)
	}
}

func TestHTTPIdentify(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.client()
	h.next().say <- opening(3) + synced(false)
	if err := c.Identify(t.Context(), Customer{ID: "a/b c", Email: "ada@acme.example", Locale: "de"}); err != nil {
		t.Fatal(err)
	}
	if got := h.told["a/b c"]; got != `{"email":"ada@acme.example","locale":"de"}` {
		t.Errorf("told %q in %v", got, h.told)
	}
}

func TestHTTPAWrongKeyIsToldAndTheAppStarts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	told := make(chan error, 100)
	c, err := NewHTTP(h.URL, "wrong", FailClosed("api"), OnError(func(err error) { told <- err }))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-told:
		if !strings.Contains(err.Error(), "401 the key is not known") || strings.Contains(err.Error(), "wrong") {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing is told")
	}
	if c.Ready() || c.Check("acme", "api").Allowed || !c.Check("acme", "other").Allowed {
		t.Error("the fail policy does not hold")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ok := c.Record(ctx, Usage{Customer: "acme", Event: "api"})
	cancel()
	if err := c.Close(ctx); ok != nil || !errors.Is(err, ErrUndelivered) {
		t.Errorf("recorded %v, closed %v", ok, err)
	}
}

func TestHTTPAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "tidegate:8080", "nats://localhost:4222", "http://", "://"} {
		if _, err := NewHTTP(address, ""); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}
