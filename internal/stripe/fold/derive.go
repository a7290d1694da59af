package fold

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// maxHistory is how many plan changes a subscription document shows.
const maxHistory = 50

// view is all that follows from the facts about one customer.
type view struct {
	doc      records.Subscription
	state    records.PlanState
	email    string
	party    string
	payments map[string]records.Payment
	moves    map[string]records.Move
	trimmed  time.Time // versions up to then may have been summed up
	unknown  []string  // prices in force that lead to no plan
	next     time.Time // when the view changes by itself; zero: never
}

// view derives a customer's view from the facts and the clock. Apart from
// positions, it does not depend on the order of the records.
func (s *State) view(customer string) view {
	v := view{state: records.PlanState{Position: s.facts.Seq}, doc: records.Subscription{
		Customer: customer, Plan: s.cfg.Plans.Default, Position: s.facts.Seq,
		Subscriptions: []records.StripeSubscription{}, History: []records.PlanChange{},
	}}
	lives := s.lives(customer)
	now := s.facts.Clock
	for i := range lives {
		// Stripe's newest version is in force even when its time is ahead of our
		// clock.
		now = later(now, lives[i].lastEvent)
	}
	line, next := s.timeline(lives, now)
	v.next = next
	if len(line) > 0 {
		last := &line[len(line)-1]
		v.state = records.PlanState{
			Plan: last.seg.effective(), Status: last.seg.status, Paid: last.seg.paid,
			Position: s.facts.Seq, Event: last.event, CausedAt: last.from,
		}
		v.party = last.life.party
		s.fillDocument(&v.doc, line, lives, now)
	} else {
		v.party = s.firstParty(customer)
	}
	v.doc.StripeCustomer = v.party
	v.email = s.emailOf(customer, v.party)
	v.payments = s.payments(customer, lives)
	v.moves, v.trimmed = s.moves(customer, lives, line), trimmed(lives)
	v.unknown = s.unknownIn(lives, now)
	return v
}

// lives returns the subscriptions of a customer, ordered by id.
func (s *State) lives(customer string) []life {
	var lives []life
	for _, pid := range slices.Sorted(maps.Keys(s.index[customer])) {
		p := s.facts.Parties[pid]
		for _, sid := range slices.Sorted(maps.Keys(p.Subs)) {
			if s.subOwner(pid, p, sid, p.Subs[sid]) == customer {
				lives = append(lives, s.lifeOf(sid, pid, p, p.Subs[sid]))
			}
		}
	}
	slices.SortFunc(lives, func(a, b life) int { return strings.Compare(a.id, b.id) })
	return lives
}

func (s *State) fillDocument(d *records.Subscription, line []phase, lives []life, now time.Time) {
	plans := &s.cfg.Plans
	last := line[len(line)-1].seg
	d.Status = last.status
	if last.paid {
		d.Plan = last.plan
	}
	d.CurrentPeriodEnd = records.Moment(last.version.PeriodEnd)
	d.CancelAt = records.Moment(last.version.end())
	d.GraceUntil = records.Moment(last.grace)
	for i := range lives {
		l := &lives[i]
		g := l.at(now)
		if g == nil {
			continue
		}
		sub := records.StripeSubscription{
			ID: l.id, Status: g.status, Prices: []string{}, Plan: plans.best(g.version.Items, &s.facts.Prices),
			CurrentPeriodEnd: records.Moment(g.version.PeriodEnd), CancelAt: records.Moment(g.version.end()),
		}
		for _, it := range g.version.Items {
			sub.Prices = append(sub.Prices, it.Price)
		}
		d.Subscriptions = append(d.Subscriptions, sub)
	}
	if len(line) > maxHistory {
		line = line[len(line)-maxHistory:]
	}
	for i := range line {
		plan := plans.Default
		if line[i].seg.paid {
			plan = line[i].seg.plan
		}
		d.History = append(d.History, records.PlanChange{
			Plan: plan, Status: line[i].seg.status, Event: line[i].event, At: line[i].from,
		})
	}
}

// firstParty returns the Stripe customer of a customer without subscriptions, or
// "".
func (s *State) firstParty(customer string) string {
	best := ""
	for pid := range s.index[customer] {
		if s.facts.Parties[pid].Deleted == nil && (best == "" || pid < best) {
			best = pid
		}
	}
	return best
}

// emailOf returns the e-mail address that Stripe has for a customer: the address
// of the deciding Stripe customer, else of another one, else "".
func (s *State) emailOf(customer, decides string) string {
	ids := slices.Sorted(maps.Keys(s.index[customer]))
	if i := slices.Index(ids, decides); i > 0 {
		ids = slices.Insert(slices.Delete(ids, i, i+1), 0, decides)
	}
	for _, pid := range ids {
		p := s.facts.Parties[pid]
		if p.Deleted != nil {
			continue
		}
		if p.Object.Email != "" {
			return p.Object.Email
		}
		if p.Mail.Value != "" {
			return p.Mail.Value
		}
	}
	return ""
}

// unknownIn returns the prices in force that lead to no plan.
func (s *State) unknownIn(lives []life, now time.Time) []string {
	var out []string
	for i := range lives {
		g := lives[i].at(now)
		if g == nil || g.plan != "" || g.status != "active" && g.status != "trialing" && g.status != "past_due" {
			continue
		}
		for _, it := range g.version.Items {
			out = append(out, it.Price)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
