package ingest

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// maxUnmapped is the most Stripe customers on a page.
const maxUnmapped = 1000

// unmapped lists the Stripe customers that belong to no customer of ours, and the
// prices that lead to no plan.
func (s *Server) unmapped(w http.ResponseWriter, r *http.Request) error {
	page := fold.Page{After: r.URL.Query().Get("cursor"), Limit: 100}
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxUnmapped {
			return badRequest("`limit` %.20q is not a number from 1 to %d", text, maxUnmapped)
		}
		page.Limit = n
	}
	report, err := askOwner(r.Context(), s, fold.ReportQuestion, 0, page)
	switch {
	case errors.Is(err, stream.ErrUnknownQuestion):
		return unavailable("the process that folds Stripe's events has another version: update it")
	case err != nil:
		s.Log.Debug("the subscription fold did not answer", slog.Any("error", err))
		return unavailable("nobody answers who folds Stripe's events: is a process with the role enforcer running?")
	}
	return writeJSON(w, http.StatusOK, report)
}
