package fold

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Drift lists how an object at Stripe differs from the facts.
type Drift struct {
	Type        string       `json:"type"`
	ID          string       `json:"id"`
	Customer    string       `json:"customer,omitempty"` // ours
	Differences []Difference `json:"differences"`
}

// Difference is a field that differs; "" means that the field is missing.
type Difference struct {
	Field  string `json:"field"`
	Here   string `json:"here"`
	Stripe string `json:"stripe"`
}

func (d *Drift) note(field, here, stripe string) {
	if here != stripe {
		d.Differences = append(d.Differences, Difference{field, here, stripe})
	}
}

// Compare returns how an object differs from the newest facts about it. It
// returns false when the object does not differ, is older, or is not used by the
// fold.
func (s *State) Compare(f *Fetched) (Drift, bool) {
	d := Drift{Type: f.Type, ID: f.ID}
	object, err := decode(f.Object)
	if err != nil {
		return d, false
	}
	switch o := object.(type) {
	case *subscriptionObject:
		s.compareSubscription(&d, o, f.At)
	case *customerObject:
		s.compareCustomer(&d, o, f.At)
	case *productObject:
		d.note("plan", s.facts.Prices.productPlan(f.ID), o.Metadata.get(planKey))
	}
	return d, len(d.Differences) > 0
}

func (s *State) compareSubscription(d *Drift, o *subscriptionObject, at time.Time) {
	now := o.version(s.cfg.CustomerKey)
	d.Customer = now.Customer
	var was version
	known := false
	if p := s.facts.Parties[o.party()]; p != nil && p.Subs[d.ID] != nil {
		d.Customer = s.subOwner(o.party(), p, d.ID, p.Subs[d.ID])
		was, known = p.Subs[d.ID].newest()
	}
	if !known {
		d.note("subscription", "", cmp.Or(now.Status, "there"))
		return
	}
	if was.Stamp.At.After(at) { // changed since
		return
	}
	plans, prices := &s.cfg.Plans, &s.facts.Prices
	d.note("status", was.Status, now.Status)
	d.note("prices", priceIDs(was.Items), priceIDs(now.Items))
	d.note("plan", plans.best(was.Items, prices), plans.best(now.Items, prices))
	d.note("current_period_end", date(was.PeriodEnd), date(now.PeriodEnd))
	d.note("ends_at", date(was.end()), date(now.end()))
	d.note("trial_end", date(was.TrialEnd), date(now.TrialEnd))
	d.note("metadata."+s.cfg.CustomerKey, was.Customer, now.Customer)
}

// compareCustomer skips a Stripe customer that has no facts and names none of our
// customers: most of an account's customers may never subscribe.
func (s *State) compareCustomer(d *Drift, o *customerObject, at time.Time) {
	mine := validCustomer(o.Metadata.get(s.cfg.CustomerKey))
	p := s.facts.Parties[d.ID]
	if p == nil && mine == "" {
		return
	}
	if d.Customer = mine; p == nil {
		p = &party{}
	} else {
		d.Customer = s.partyOwner(d.ID, p)
	}
	if p.Object.Stamp.At.After(at) || p.Deleted != nil {
		return
	}
	d.note("email", p.Object.Email, string(o.Email))
	d.note("metadata."+s.cfg.CustomerKey, p.Object.Customer, mine)
}

// Open returns at most limit ids of subscriptions that have not ended, ordered,
// after the given id.
func (s *State) Open(after string, limit int) []string {
	var ids []string
	for _, p := range s.facts.Parties {
		if p.Deleted != nil {
			continue
		}
		for id, sub := range p.Subs {
			if v, ok := sub.newest(); ok && id > after && v.Status != "canceled" && v.Status != "incomplete_expired" {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), limit)]
}

func priceIDs(items []item) string {
	var ids []string
	for _, it := range items {
		ids = append(ids, it.Price)
	}
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), ", ")
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
