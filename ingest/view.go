package ingest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
)

// view is a customer as the API shows it.
type view struct {
	Customer       string                   `json:"customer"`
	Email          string                   `json:"email"`
	Plan           string                   `json:"plan"`
	Anchor         *time.Time               `json:"anchor"`
	Locale         string                   `json:"locale,omitempty"`
	StripeCustomer string                   `json:"stripe_customer,omitempty"`
	Suppressed     string                   `json:"suppressed,omitempty"`
	Overrides      map[string]gate.Override `json:"overrides"`
	Usage          []usageView              `json:"usage"`
	Decisions      []events.Decision        `json:"decisions"`
}

// usageView is a running window, with the dates of the decision about it.
type usageView struct {
	Feature     string           `json:"feature"`
	WindowStart *time.Time       `json:"window_start"`
	WindowEnd   *time.Time       `json:"window_end"`
	Used        events.Value     `json:"used"`
	Limit       events.NullValue `json:"limit"`
}

func (s *Server) getCustomer(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := validCustomer(id); err != nil {
		return err
	}
	v, known, err := s.view(r.Context(), id)
	if err != nil {
		return err
	}
	if !known {
		return &problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("nothing is known of the customer %.80q", id)}
	}
	return writeJSON(w, http.StatusOK, v)
}

// view asks the owners for everything about a customer.
func (s *Server) view(ctx context.Context, id string) (view, bool, error) {
	u, st, err := s.askBoth(ctx, id)
	if err != nil {
		return view{}, false, err
	}
	return s.compose(s.Catalog(), id, st, u), st.Known || len(u.Windows) > 0, nil
}

// askBoth asks the aggregator's and the enforcer's owner at the same time.
func (s *Server) askBoth(ctx context.Context, id string) (usageOf, standing, error) {
	type answer struct {
		u   usageOf
		err error
	}
	usage := make(chan answer, 1)
	go func() {
		u, err := guard.Value(func() (usageOf, error) { return s.usage(ctx, id) })
		usage <- answer{u, err}
	}()
	st, err := s.standing(ctx, id)
	u := <-usage
	return u.u, st, cmp.Or(err, u.err)
}

// compose joins the answers of both owners. The enforcer knows usage only near a
// limit, so its decisions are shown with the aggregator's count. Where it has made
// no decision, the decision follows from plan, override and usage.
func (s *Server) compose(c *gate.Catalog, id string, st standing, u usageOf) view {
	now, planName := s.Now(), st.Customer.Plan
	if planName == "" {
		planName = c.Default().Name
	}
	v := view{
		Customer: id, Email: st.Customer.Address(), Plan: planName, Anchor: st.Customer.Anchor,
		Locale: st.Customer.Locale, StripeCustomer: st.Customer.StripeCustomer, Suppressed: st.Customer.Suppressed,
		Overrides: st.Customer.Overrides, Usage: []usageView{}, Decisions: st.Decisions,
	}
	if v.Overrides == nil {
		v.Overrides = map[string]gate.Override{}
	}
	for i := range c.Gates {
		g := &c.Gates[i]
		w, open := current(u.Windows, g.Feature, now)
		at := slices.IndexFunc(v.Decisions, func(d events.Decision) bool { return d.Feature == g.Feature })
		if at < 0 {
			at = len(v.Decisions)
			v.Decisions = append(v.Decisions, decide(c, g, id, planName, st.Customer.Overrides, w, u.AsOf, now))
		}
		v.Decisions[at] = s.later(c, g, v.Decisions[at], u, now)
		if open {
			start, end := span(g, &w, now)
			v.Usage = append(v.Usage, usageView{g.Feature, pointer(start), pointer(end), w.Used, v.Decisions[at].Limit})
		}
	}
	slices.SortFunc(v.Decisions, func(a, b events.Decision) int { return strings.Compare(a.Feature, b.Feature) })
	slices.SortFunc(v.Usage, func(a, b usageView) int { return strings.Compare(a.Feature, b.Feature) })
	return v
}

func decide(c *gate.Catalog, g *gate.Gate, id, planName string, overrides map[string]gate.Override, w records.Window, asOf, now time.Time) events.Decision {
	var o *gate.Override
	if own, ok := overrides[g.Feature]; ok {
		o = &own
	}
	usage := gate.Usage{Start: w.Start, End: w.End, Used: w.Used, UnblocksAt: w.End, AsOf: asOf}
	if w.Start.IsZero() { // rolling, or none: when it falls below the limit is not known here
		usage.End, usage.UnblocksAt = time.Time{}, time.Time{}
	}
	return gate.Decide(c, g, id, planName, o, usage, now)
}

// off reports whether a gate is switched off. The enforcer of partition 0 announces
// the switches with the gates.
func (s *Server) off(feature string) bool {
	gates, _ := s.Decisions.Gates()
	i := slices.IndexFunc(gates.Gates, func(g events.Gate) bool { return g.Feature == feature })
	return i >= 0 && gates.Gates[i].Off
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	customer, g, c, err := s.subjectOf(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	u, st, err := s.askBoth(ctx, customer)
	if err != nil {
		return err
	}
	sub, subscribed, err := s.Store.Subscription(ctx, customer)
	if err != nil {
		return err
	}
	v := s.compose(c, customer, st, u)
	windows := slices.DeleteFunc(slices.Clone(u.Windows), func(w records.Window) bool { return w.Feature != g.Feature })
	answer := map[string]any{
		"customer": customer, "feature": g.Feature,
		"decision": s.later(c, g, s.Decisions.Check(customer, g.Feature), u, s.Now()), // what apps are told
		"owner":    nil,                                                               // what the partition's owner says
		"plan":     v.Plan, "pinned": st.Customer.PinnedPlan, "plan_limit": g.LimitOf(v.Plan).String(),
		"override": nil, "overrides": v.Overrides, "anchor": v.Anchor, "windows": windows,
		"exact": u.exact, "as_of": u.AsOf, "gate": g, "subscription": nil,
	}
	if o, ok := v.Overrides[g.Feature]; ok {
		answer["override"] = o
	}
	if i := slices.IndexFunc(v.Decisions, func(d events.Decision) bool { return d.Feature == g.Feature }); i >= 0 {
		answer["owner"] = v.Decisions[i]
	}
	if subscribed {
		answer["subscription"] = sub
	}
	return writeJSON(w, http.StatusOK, answer)
}
