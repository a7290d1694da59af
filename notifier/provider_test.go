package notifier

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// provider is an HTTP server that speaks Resend's API, with its idempotency: a
// key is remembered for 24 hours, refuses other bytes, and two requests at once.
type provider struct {
	url string
	now func() time.Time

	mu       sync.Mutex
	requests []request
	inbox    []Message // what recipients got
	keys     map[string]accepted
	underWay map[string]bool // keys of requests that are being answered
	// held is called while a request is under way.
	held func()
	// before may answer a request itself, and returns true when it did; after
	// may do so once the mail has gone out.
	before, after func(w http.ResponseWriter) bool
	got           chan struct{}
}

type request struct{ key, body, auth string }

type accepted struct {
	id, body string
	at       time.Time
}

func newProvider(t *testing.T) *provider {
	p := &provider{keys: map[string]accepted{}, underWay: map[string]bool{}, now: time.Now, got: make(chan struct{}, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /emails", p.emails)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	p.url = srv.URL // without a final slash, as people write it
	return p
}

// hold makes the next request wait: arrived is closed when it is there, and it
// goes on when resume is.
func (p *provider) hold() (arrived, resume chan struct{}) {
	arrived, resume = make(chan struct{}), make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = func() { close(arrived); <-resume }
	return arrived, resume
}

func (p *provider) emails(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.got <- struct{}{} }()
	key := r.Header.Get("Idempotency-Key")
	came := p.now()
	p.requests = append(p.requests, request{key, string(body), r.Header.Get("Authorization")})
	if p.underWay[key] {
		refuse(w, 409, "concurrent_idempotent_requests")
		return
	}
	p.underWay[key] = true
	defer delete(p.underWay, key)
	if held := p.held; held != nil {
		p.held = nil
		p.mu.Unlock()
		held()
		p.mu.Lock()
	}
	if p.before != nil && p.before(w) {
		return
	}
	if len(key) > 256 || key == "" {
		refuse(w, 400, "invalid_idempotency_key")
		return
	}
	p.take(w, key, string(body), came)
}

// take sends a mail, unless its key was known when the request came: however long
// that is held, its key is looked up first.
func (p *provider) take(w http.ResponseWriter, key, body string, came time.Time) {
	a, known := p.keys[key]
	if known = known && came.Sub(a.at) < 24*time.Hour; known && a.body != body {
		refuse(w, 409, "invalid_idempotent_request")
		return
	}
	if !known {
		var m Message
		if err := json.Unmarshal([]byte(body), &m); err != nil || len(m.To) == 0 || m.From == "" {
			refuse(w, 422, "validation_error")
			return
		}
		p.inbox = append(p.inbox, m)
		a = accepted{id: fmt.Sprintf("re_%d", len(p.inbox)), body: body, at: came}
		p.keys[key] = a
	}
	if p.after != nil && p.after(w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"id": a.id})
}

func refuse(w http.ResponseWriter, status int, name string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"statusCode": status, "name": name, "message": "because of " + name})
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) bool {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
	return true
}

// always makes before answer with an error.
func (p *provider) always(status int, name string, header ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if status == 0 {
		p.before = nil
		return
	}
	p.before = func(w http.ResponseWriter) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		refuse(w, status, name)
		return true
	}
}

func (p *provider) counts() (requests, mails int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests), len(p.inbox)
}
