package ingest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// problem is an answer in the form of RFC 9457, and an error of handlers.
type problem struct {
	Status int
	Detail string
	Retry  int            // seconds; 0: no Retry-After
	More   map[string]any // further members

	Document any // the whole document in place of Detail and More
}

func (p *problem) Error() string { return cmp.Or(p.Detail, http.StatusText(p.Status)) }

func badRequest(format string, args ...any) *problem {
	return &problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf(format, args...)}
}

// unavailable returns the answer while the stream cannot take something.
func unavailable(detail string) *problem {
	return &problem{Status: http.StatusServiceUnavailable, Detail: detail, Retry: 1}
}

func (p *problem) body() []byte {
	if p.Document != nil {
		b, _ := json.Marshal(p.Document) // cannot fail: plain members
		return b
	}
	body := map[string]any{"type": "about:blank", "title": http.StatusText(p.Status), "status": p.Status, "detail": p.Detail}
	for k, v := range p.More {
		body[k] = v
	}
	b, _ := json.Marshal(body) // cannot fail: plain members
	return b
}

func (p *problem) write(w http.ResponseWriter) {
	if p.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.Retry))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(p.body(), '\n')) // the client may be gone
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client may be gone
	return nil
}

func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, ErrUnavailable) {
		return unavailable("the stream cannot take it now: try again, usage with the same ids")
	}
	return nil
}
