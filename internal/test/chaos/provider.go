package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// provider implements Resend's API with its idempotency.
type provider struct {
	url string
	srv *http.Server

	mu     sync.Mutex
	bodies map[string][]byte // by idempotency key
	wrong  []string          // requests that must not be sent
}

func newProvider() (*provider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{url: "http://" + l.Addr().String(), bodies: map[string][]byte{}}
	p.srv = &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = p.srv.Serve(l) }()
	return p, nil
}

func (p *provider) close() { _ = p.srv.Close() }

// ServeHTTP accepts a mail.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	first, again := p.bodies[key]
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/emails" || key == "":
		p.wrong = append(p.wrong, fmt.Sprintf("%s %s with the key %q", r.Method, r.URL.Path, key))
		http.Error(w, "{}", http.StatusBadRequest)
		return
	case again && !bytes.Equal(first, body):
		p.wrong = append(p.wrong, fmt.Sprintf("the key %s with two bodies", key))
		http.Error(w, `{"name":"invalid_idempotent_request"}`, http.StatusConflict)
		return
	}
	p.bodies[key] = body
	w.Header().Set("Content-Type", "application/json")
	for name, v := range map[string]string{"limit": "1000", "remaining": "999", "reset": "1"} { // faster than the default rate
		w.Header().Set("Ratelimit-"+name, v)
	}
	_, _ = fmt.Fprintf(w, `{"id":"mail-%d"}`, len(p.bodies))
}

// mails returns the accepted mails, one for each key.
func (p *provider) mails() (all []Mail, wrong []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, body := range p.bodies {
		var m struct{ To []string }
		if err := json.Unmarshal(body, &m); err != nil || len(m.To) != 1 {
			return nil, nil, fmt.Errorf("mail %s to %v: %w", key, m.To, err)
		}
		all = append(all, Mail{Key: key, To: m.To[0]})
	}
	return all, append([]string(nil), p.wrong...), nil
}
