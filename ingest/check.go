package ingest

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
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
	c = s.Catalog()
	g, ok := c.Gate(feature)
	if !ok {
		return "", nil, nil, unknownFeature(feature)
	}
	return customer, g, c, nil
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
	customer, g, c, err := s.subjectOf(r)
	if err != nil {
		return err
	}
	d := s.Decisions.Check(customer, g.Feature)
	u, err := s.usage(r.Context(), customer)
	if err != nil { // the cache's decision stands: apps go by it
		s.Log.Warn("usage could not be read", slog.Any("error", err))
		return writeJSON(w, http.StatusOK, dated(d, s.Now()))
	}
	return writeJSON(w, http.StatusOK, s.later(c, g, d, u, s.Now()))
}

// later returns what decision d means at now, given the usage that the owner or
// the documents know. It blocks also while the block is still on its way to the
// cache.
func (s *Server) later(c *gate.Catalog, g *gate.Gate, d events.Decision, u usageOf, now time.Time) events.Decision {
	public := c.Public(g, s.off(g.Feature))
	return dated(gate.Later(&public, c.Default().Name, d.Customer, &d, u.known(g, now), now), now)
}

// known returns what u knows of the window of g that contains now.
func (u *usageOf) known(g *gate.Gate, now time.Time) gate.Known {
	w, open := current(u.Windows, g.Feature, now)
	k := gate.Known{Used: events.Some(w.Used), Exact: u.exact, AsOf: u.AsOf}
	if open {
		k.Start, k.End = span(g, &w, now)
	}
	return k
}

// dated gives the moment of the answer to a decision that an absent key stands
// for.
func dated(d events.Decision, now time.Time) events.Decision {
	if d.DecidedAt.IsZero() {
		d.DecidedAt = now.UTC()
	}
	if d.AsOf.IsZero() {
		d.AsOf = now.UTC()
	}
	return d
}
