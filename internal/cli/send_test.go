package cli

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/sample"
)

// TestSendSaysThatItWaits, once, and what to do when it is stopped.
func TestSendSaysThatItWaits(t *testing.T) {
	t.Parallel()
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, `{"detail":"the stream is full"}`, http.StatusServiceUnavailable)
	}))
	defer full.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	said, told := io.Pipe()
	defer func() { _ = told.Close() }()
	go func() {
		_, _ = bufio.NewReader(said).ReadString('\n')
		stop()
		_, _ = io.Copy(io.Discard, said)
	}()
	s := sender{env: &env{ctx: ctx, stderr: told}, api: api{base: full.URL, http: http.DefaultClient}, path: "/v1/events"}
	err := s.add(7, []byte(sample.Event("acme", "late")))
	if err == nil {
		err = s.flush()
	}
	if err == nil || !strings.Contains(err.Error(), "line 7") || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("send ended with %v", err)
	}
}
