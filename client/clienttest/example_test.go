package clienttest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tidegate-io/tidegate/client/clienttest"
	"github.com/tidegate-io/tidegate/events"
)

// A test of an app: the second request is one too many.
func TestAnApp(t *testing.T) {
	t.Parallel()
	s := clienttest.New(t, []events.Gate{clienttest.Gate("reports", 1)})
	app := s.Client.Gate("reports", func(*http.Request) string { return "acme" })(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))

	for _, want := range []int{http.StatusCreated, http.StatusPaymentRequired} {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, httptest.NewRequest("POST", "/reports", nil))
		if w.Code != want {
			t.Errorf("answered %d, want %d", w.Code, want)
		}
	}
	if list := s.Recorded(); len(list) != 1 || list[0].Type != "reports" {
		t.Errorf("recorded %v", list)
	}
}
