package cli

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestReady(t *testing.T) {
	for _, c := range []struct {
		status, code int
		answer, want string // want is the output, or the error
	}{
		{200, exitOK, `{"status":"ok"}`, "status  ok\n"},
		{200, exitOK, `{"status":"degraded","not_ready":{"store":"away"}}`, "status  degraded\nstore   away\n"},
		{200, exitOK, "degraded: store: away\n", "status  degraded: store: away\n"},
		{503, exitFailed, "starting: waiting for NATS\n", "tidegate: 503 Service Unavailable: starting: waiting for NATS\n"},
		{503, exitFailed, `{"title":"Service Unavailable","detail":"not ready: nats"}`, "tidegate: not ready: nats\n"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				t.Errorf("asked for %s", r.URL)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.answer))
		}))
		t.Setenv("TIDEGATE_URL", server.URL)
		if code, stdout, stderr := command(t, "", "ready"); code != c.code || stdout+stderr != c.want {
			t.Errorf("%d %s: exit %d: %q", c.status, c.answer, code, stdout+stderr)
		}
		server.Close()
	}
}
