package fold

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// paidPeriod is paid access without a gap, over all of a customer's
// subscriptions.
type paidPeriod struct {
	first *life     // the subscription that began it
	to    time.Time // zero: open
	parts []paidSpan
}

// paidSpan is paid access by one subscription.
type paidSpan struct {
	life     *life
	from, to time.Time
}

// payments returns the customer's conversions by key: the first payment above 0
// of each paid period that was seen from its beginning. The key names the
// customer and the subscription that began the period. So it stays the same
// whichever event shows the payment first.
func (s *State) payments(customer string, lives []life) map[string]records.Payment {
	found := map[string]*evidence{}
	out := map[string]records.Payment{}
	kind := records.MoveConversion
	for _, sp := range paidPeriods(lives) {
		key := customer + "/" + sp.first.id
		for _, part := range sp.parts {
			e := part.life.sub.Payment
			if e == nil || !part.life.paidFirst(e.Stamp.At).Equal(part.from) ||
				!part.life.sub.mayBeFirst(part.life.newest.TrialEnd) ||
				part.life.id != sp.first.id && !sp.first.sub.seenFromStart() {
				continue
			}
			if f := found[key]; f != nil && !e.Stamp.before(f.Stamp) {
				continue
			}
			found[key] = e
			out[key] = records.Payment{
				Key: key, Kind: kind, Event: e.Stamp.ID, FromPlan: s.cfg.Plans.Default, ToPlan: s.paidPlan(part, e),
				Amount: e.Amount, Currency: e.Currency, At: e.Stamp.At,
			}
		}
		if sp.paying() {
			kind = records.MoveReactivation
		}
	}
	return out
}

// paying reports whether the customer paid during the period, surely or (where
// the beginning was not seen) most likely. A payment after such a period is not
// the customer's first.
func (sp *paidPeriod) paying() bool {
	for i := range sp.parts {
		l := sp.parts[i].life
		if l.sub.Payment != nil {
			return true
		}
		for _, g := range l.segments {
			if g.paid && g.status != "trialing" && !l.sub.seenFromStart() {
				return true
			}
		}
	}
	return false
}

// paidPlan returns the plan that was paid for: the one that the payment names,
// else the subscription's.
func (s *State) paidPlan(part paidSpan, e *evidence) string {
	if plan := s.cfg.Plans.best(e.Items, &s.facts.Prices); s.cfg.Plans.paid(plan) {
		return plan
	}
	plan := ""
	for _, g := range part.life.segments {
		if g.paid && !g.from.Before(part.from) && (plan == "" || !g.from.After(e.Stamp.At)) {
			plan = g.plan
		}
	}
	return plan
}

// paidSpans returns the subscription's paid segments, adjacent ones merged.
func (l *life) paidSpans() []paidSpan {
	var out []paidSpan
	for _, g := range l.segments {
		if !g.paid {
			continue
		}
		if n := len(out); n > 0 && out[n-1].to.Equal(g.from) {
			out[n-1].to = g.to
			continue
		}
		out = append(out, paidSpan{life: l, from: g.from, to: g.to})
	}
	return out
}

// paidFirst returns the beginning of the first paid span that did not end before
// t: a payment at t paid for that span.
func (l *life) paidFirst(t time.Time) time.Time {
	for _, p := range l.paidSpans() {
		if p.to.IsZero() || !p.to.Before(t) {
			return p.from
		}
	}
	return time.Time{}
}

// paidPeriods merges the paid spans of subscriptions that follow each other
// without a gap.
func paidPeriods(lives []life) []paidPeriod {
	var parts []paidSpan
	for i := range lives {
		parts = append(parts, lives[i].paidSpans()...)
	}
	slices.SortStableFunc(parts, func(a, b paidSpan) int {
		return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.life.id, b.life.id))
	})
	var out []paidPeriod
	for _, p := range parts {
		if n := len(out); n > 0 && (out[n-1].to.IsZero() || !p.from.After(out[n-1].to)) {
			sp := &out[n-1]
			sp.parts = append(sp.parts, p)
			if p.to.IsZero() || !sp.to.IsZero() && p.to.After(sp.to) {
				sp.to = p.to
			}
			continue
		}
		out = append(out, paidPeriod{first: p.life, to: p.to, parts: []paidSpan{p}})
	}
	return out
}
