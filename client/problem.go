package client

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// Blocked answers a request whose customer is blocked: 402, 403 for a feature
// that is not in the plan, or 503 when the fail policy refused. The body is
// application/problem+json with what an app's front end shows.
func Blocked(w http.ResponseWriter, d events.Decision) {
	answer := gate.Blocked(&d)
	write(w, &answer)
}

func write(w http.ResponseWriter, a *gate.Answer) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	w.WriteHeader(a.Status)
	_ = json.NewEncoder(w).Encode(a) // the visitor may be gone
}
