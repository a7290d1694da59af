package ingest

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// subjectOf reads the parameters that name a customer and a gate.
func (s *Server) subjectOf(r *http.Request) (customer string, g *gate.Gate, c *gate.Catalog, err error) {
	q := r.URL.Query()
	customer, feature := q.Get("customer"), q.Get("feature")
	if customer == "" || feature == "" {
		return "", nil, nil, badRequest("both `customer` and `feature` are needed, as in ?customer=acme&feature=api")
	}
	if err := validCustomer(customer); err != nil {
		return "", nil, nil, err
	}
	catalog := s.Catalog()
	g, ok := catalog.Gate(feature)
	if !ok {
		return "", nil, nil, unknownFeature(feature)
	}
	return customer, g, &catalog, nil
}

func validCustomer(id string) error {
	if err := events.ValidateCustomer(id); err != nil {
		return badRequest("%s", strings.ReplaceAll(reasonOf(err), "`subject`", "the customer's id"))
	}
	return nil
}

func unknownFeature(feature string) error {
	return &problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no gate has the feature %.80q", feature)}
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) error {
	customer, g, _, err := s.subjectOf(r)
	if err != nil {
		return err
	}
	d := s.Decisions.Check(customer, g.Feature)
	u, err := s.usage(r.Context(), customer)
	if err != nil { // the cache's word stands, which is what apps go by
		s.Log.Warn("usage could not be read", slog.Any("error", err))
		return writeJSON(w, http.StatusOK, dated(d, s.Now()))
	}
	return writeJSON(w, http.StatusOK, dated(refine(g, d, u, s.Now()), s.Now()))
}

// dated gives a decision that nobody has put, which an absent key stands for,
// the moment of the answer.
func dated(d events.Decision, now time.Time) events.Decision {
	if d.DecidedAt.IsZero() {
		d.DecidedAt = now.UTC()
	}
	if d.AsOf.IsZero() {
		d.AsOf = now.UTC()
	}
	return d
}

// refine fills a cached decision with the usage that is known better, and
// blocks what the cache allows only because the block is still on its way. It
// never allows what the cache blocks. Usage that is not exact, read from
// documents, cannot take back what the cache counted in the same window.
func refine(g *gate.Gate, d events.Decision, u usageOf, now time.Time) events.Decision {
	w, open := current(u.Windows, g.Feature, now)
	if !u.exact && d.Used.Valid && d.Used.Cmp(w.Used) > 0 && sameWindow(&d, &w, open, now) {
		return d
	}
	d.Used = events.Some(w.Used)
	if u.AsOf.After(d.AsOf) {
		d.AsOf = u.AsOf.UTC()
	}
	if open {
		d.WindowStart, d.WindowEnd = span(g, &w, now)
	} else if d.WindowEnd != nil && !now.Before(*d.WindowEnd) {
		d.WindowStart, d.WindowEnd = nil, nil
	}
	if !d.Limit.Valid {
		return d
	}
	d.Remaining = events.Some(d.Limit.Sub(w.Used).Max(events.Value{}))
	switch d.Reason {
	case events.WithinLimit, events.NearLimit, events.Overridden:
	default:
		return d
	}
	switch {
	case !d.Allowed:
	case w.Used.Cmp(d.Limit.Value) >= 0:
		return reached(g, d, now)
	case d.Reason == events.Overridden:
	case w.Used.Sign() > 0 && w.Used.Cmp(g.Near(d.Limit.Value)) >= 0:
		d.Reason = events.NearLimit
	default:
		d.Reason = events.WithinLimit
	}
	return d
}

// sameWindow says whether a decision speaks of the window w, or of the one
// that runs now when no document has been written of it yet.
func sameWindow(d *events.Decision, w *records.Window, open bool, now time.Time) bool {
	if d.WindowStart == nil || d.WindowEnd == nil {
		return d.WindowEnd == nil
	}
	if open && !w.Start.IsZero() {
		return d.WindowStart.Equal(w.Start)
	}
	return now.Before(*d.WindowEnd)
}

func reached(g *gate.Gate, d events.Decision, now time.Time) events.Decision {
	d.Message = g.Message
	if d.UpgradeURL == "" {
		d.UpgradeURL = g.UpgradeURL
	}
	if g.Shadow || g.EnforceFrom != nil && now.Before(*g.EnforceFrom) {
		d.Reason, d.WouldBlock = events.Shadow, true
		return d
	}
	d.Allowed, d.Reason = false, events.LimitReached
	if d.Limit.Sign() > 0 {
		d.UnblocksAt = d.WindowEnd
	}
	return d
}
