package ingest

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// maxUnmapped is how many Stripe customers a page has at most.
const maxUnmapped = 1000

// unmapped lists what of Stripe leads nowhere: customers that are nobody's, and
// prices without a plan.
func (s *Server) unmapped(w http.ResponseWriter, r *http.Request) error {
	q := fold.Query{Report: true, After: r.URL.Query().Get("cursor"), Limit: 100}
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxUnmapped {
			return badRequest("`limit` %.20q is not a number from 1 to %d", text, maxUnmapped)
		}
		q.Limit = n
	}
	var a fold.Answer
	if err := s.askOwner(r.Context(), fold.Role, 0, q, &a); err != nil {
		s.Log.Debug("the subscription fold did not answer", slog.Any("error", err))
		return unavailable("nobody answers who folds Stripe's events: is a process with the role enforcer running?")
	}
	if a.Report == nil {
		return unavailable("the process that folds Stripe's events has another version: update it")
	}
	return writeJSON(w, http.StatusOK, a.Report)
}
