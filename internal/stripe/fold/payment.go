package fold

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// spell is a chain of paid access without a free gap, over all of a customer's
// subscriptions.
type spell struct {
	first *life     // whose paid access began it
	to    time.Time // zero: open
	parts []stretch
}

// stretch is paid access by one subscription.
type stretch struct {
	life     *life
	from, to time.Time
}

// payments are the customer's conversions by key: of each spell the first
// payment above 0, provided that the spell was seen from its beginning. The key
// names the customer and the subscription that began the spell, so it is the
// same whichever of the events that prove the payment came first.
func (s *State) payments(customer string, lives []life) map[string]records.Payment {
	found := map[string]*evidence{}
	out := map[string]records.Payment{}
	kind := records.MoveConversion
	for _, sp := range spells(lives) {
		key := customer + "/" + sp.first.id
		for _, part := range sp.parts {
			e := part.life.sub.Payment
			if e == nil || !part.life.paidFirst(e.Stamp.At).Equal(part.from) ||
				!part.life.sub.first(part.life.newest.TrialEnd) ||
				part.life.id != sp.first.id && !sp.first.sub.watched() {
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

// paying says whether the customer surely or, where the beginning was not seen,
// most likely paid something during the spell: what follows is no first payment.
func (sp *spell) paying() bool {
	for i := range sp.parts {
		l := sp.parts[i].life
		if l.sub.Payment != nil {
			return true
		}
		for _, g := range l.segments {
			if g.paid && g.status != "trialing" && !l.sub.watched() {
				return true
			}
		}
	}
	return false
}

// paidPlan is the plan that was paid: what the payment itself names, else what
// the subscription was on.
func (s *State) paidPlan(part stretch, e *evidence) string {
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

// stretches joins the subscription's paid segments.
func (l *life) stretches() []stretch {
	var out []stretch
	for _, g := range l.segments {
		if !g.paid {
			continue
		}
		if n := len(out); n > 0 && out[n-1].to.Equal(g.from) {
			out[n-1].to = g.to
			continue
		}
		out = append(out, stretch{life: l, from: g.from, to: g.to})
	}
	return out
}

// paidFirst is the beginning of the first paid access that did not end before
// t: what a payment of that moment paid for.
func (l *life) paidFirst(t time.Time) time.Time {
	for _, p := range l.stretches() {
		if p.to.IsZero() || !p.to.Before(t) {
			return p.from
		}
	}
	return time.Time{}
}

func spells(lives []life) []spell {
	var parts []stretch
	for i := range lives {
		parts = append(parts, lives[i].stretches()...)
	}
	slices.SortStableFunc(parts, func(a, b stretch) int {
		return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.life.id, b.life.id))
	})
	var out []spell
	for _, p := range parts {
		if n := len(out); n > 0 && (out[n-1].to.IsZero() || !p.from.After(out[n-1].to)) {
			sp := &out[n-1]
			sp.parts = append(sp.parts, p)
			if p.to.IsZero() || !sp.to.IsZero() && p.to.After(sp.to) {
				sp.to = p.to
			}
			continue
		}
		out = append(out, spell{first: p.life, to: p.to, parts: []stretch{p}})
	}
	return out
}
