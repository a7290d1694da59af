package app

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/freeport"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestProbesTellWhatIsMissing: a process that does its part is ready, and names
// what the others lack.
func TestProbesTellWhatIsMissing(t *testing.T) {
	t.Parallel()
	a, err := Start(t.Context(), Settings{Probes: "127.0.0.1:0", Roles: []string{RoleAggregator}, MongoURI: "mongodb://" + freeport.Address(t) + "/"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	var answer string
	wait.Until(t, "it is ready", func() error {
		w := httptest.NewRecorder()
		(*a.probe.Load()).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		answer = w.Body.String()
		if w.Code != 200 {
			return errorOf(answer)
		}
		return nil
	})
	for _, want := range []string{"degraded:", "mongodb at 127.0.0.1:", "nobody owns enforcer.0, enforcer.1", "billing.0, notifier.0: start processes with --roles enforcer,notifier"} {
		if !strings.Contains(answer, want) {
			t.Errorf("%q lacks %q", answer, want)
		}
	}
	if strings.Contains(answer, "aggregator") {
		t.Errorf("it owns those: %q", answer)
	}
}

// errorOf is an answer as an error.
type errorOf string

func (e errorOf) Error() string { return string(e) }
