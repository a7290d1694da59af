package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// provider is a server that implements Resend's API with its idempotency.
type provider struct {
	t   testing.TB
	url string

	mu    sync.Mutex
	taken map[string][]byte // by idempotency key
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t, taken: map[string][]byte{}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	key := r.Header.Get("Idempotency-Key")
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/emails" || key == "" || r.Header.Get("Authorization") != "Bearer re_test" {
		p.t.Errorf("Resend was asked %s %s with the key %q: %v", r.Method, r.URL.Path, key, err)
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first, again := p.taken[key]; again && !bytes.Equal(first, body) {
		p.t.Errorf("the mail %s was sent with two bodies:\n%s\n%s", key, first, body)
		http.Error(w, `{"name":"invalid_idempotent_request"}`, http.StatusConflict)
		return
	}
	p.taken[key] = body
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"id":"mail-%d"}`, len(p.taken))
}

// message has the checked fields of a mail in Resend's form.
type message struct {
	From, Subject, Text, HTML string
	To                        []string
	Headers                   map[string]string
}

// mails returns the accepted mails, one for each key.
func (p *provider) mails() (all []message) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, body := range p.taken {
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			p.t.Fatalf("%v in %s", err, body)
		}
		all = append(all, m)
	}
	return all
}
