package fold

import (
	"cmp"
	"slices"
	"time"
)

// segment is a span of a subscription's life with one status and plan.
type segment struct {
	from, to time.Time // to is zero: open
	status   string
	plan     string // of its prices
	paid     bool   // gives the plan's access
	event    string // that began it; for a timer: the event that set the timer
	version  *version
	grace    time.Time // for past_due: until when paid access lasts
}

// effective returns the plan that the segment gives access to, or "".
func (g *segment) effective() string {
	if !g.paid {
		return ""
	}
	return g.plan
}

// life is a subscription of a customer with its segments in ascending order.
type life struct {
	id, party string
	sub       *sub
	newest    version
	lastEvent time.Time // of its last event
	segments  []segment
}

// lifeOf derives a subscription's segments. Timers will start those in the
// future.
func (s *State) lifeOf(id, partyID string, p *party, sub *sub) life {
	all := sub.versions()
	l := life{id: id, party: partyID, sub: sub}
	if len(all) == 0 {
		return l
	}
	l.newest = all[len(all)-1]
	l.lastEvent = l.newest.Stamp.At
	var pastDue time.Time // when the present run of past_due began
	for i := range all {
		v := &all[i]
		if p.Deleted != nil && !v.Stamp.At.Before(p.Deleted.At) {
			break
		}
		switch {
		case v.Status != "past_due":
			pastDue = time.Time{}
		case pastDue.IsZero():
			pastDue = v.Stamp.At
		}
		var to time.Time
		if i+1 < len(all) {
			to = all[i+1].Stamp.At
		}
		if p.Deleted != nil && (to.IsZero() || to.After(p.Deleted.At)) {
			to = p.Deleted.At
		}
		l.segments = append(l.segments, s.segmentsOf(v, to, pastDue)...)
	}
	if d := p.Deleted; d != nil {
		l.lastEvent = d.At
		l.segments = append(l.segments, segment{
			from: d.At, status: "canceled", event: d.ID, version: &l.newest,
			plan: s.cfg.Plans.best(l.newest.Items, &s.facts.Prices),
		})
	}
	return l
}

// segmentsOf returns the one or two segments of a version: paid access may run
// out before the next version comes.
func (s *State) segmentsOf(v *version, to, pastDue time.Time) []segment {
	g := segment{
		from: v.Stamp.At, to: to, status: v.Status, event: v.Stamp.ID, version: v,
		plan: s.cfg.Plans.best(v.Items, &s.facts.Prices),
	}
	until, ending := v.end(), "canceled"
	switch v.Status {
	case "active", "trialing":
		g.paid = true
	case "past_due":
		g.paid = true
		g.grace = pastDue.Add(s.cfg.Grace)
		if until.IsZero() || g.grace.Before(until) {
			until, ending = g.grace, v.Status
		}
	default:
		return []segment{g}
	}
	g.paid = g.paid && s.cfg.Plans.paid(g.plan)
	if until.IsZero() || !to.IsZero() && !until.Before(to) {
		return []segment{g}
	}
	rest := g
	rest.from, rest.paid, rest.status = later(until, g.from), false, ending
	if !until.After(g.from) {
		return []segment{rest}
	}
	g.to = until
	return []segment{g, rest}
}

// at returns the segment in force at t, or nil.
func (l *life) at(t time.Time) *segment {
	i, _ := slices.BinarySearchFunc(l.segments, t, func(g segment, t time.Time) int {
		if g.from.After(t) {
			return 1
		}
		return -1
	})
	if i == 0 {
		return nil
	}
	return &l.segments[i-1]
}

// phase is a span of time in which one segment decides for the customer.
type phase struct {
	from  time.Time
	event string // that began it
	life  *life  // the newest subscription that decides
	seg   *segment
}

// same reports whether the customer gets the same from both phases.
func (a *phase) same(b *phase) bool {
	return a.seg.status == b.seg.status && a.seg.effective() == b.seg.effective() && a.seg.paid == b.seg.paid
}

// timeline returns the customer's phases up to now, and when the next phase
// begins without a new record (zero: never).
func (s *State) timeline(lives []life, now time.Time) (line []phase, next time.Time) {
	var moments []time.Time
	for i := range lives {
		for j := range lives[i].segments {
			moments = append(moments, lives[i].segments[j].from)
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	moments = slices.CompactFunc(moments, time.Time.Equal)
	for _, t := range moments {
		if t.After(now) {
			return line, t
		}
		best := s.bestAt(lives, t)
		if n := len(line); n > 0 && line[n-1].same(&best) {
			line[n-1].life, line[n-1].seg = best.life, best.seg
			continue
		}
		best.event = best.seg.event
		line = append(line, best)
	}
	return line, time.Time{}
}

// bestAt picks among a customer's subscriptions: paid beats free, then the
// plan that the catalog lists last, then the subscription with the
// newest version.
func (s *State) bestAt(lives []life, t time.Time) phase {
	best := phase{from: t}
	for i := range lives {
		g := lives[i].at(t)
		if g == nil {
			continue
		}
		if best.seg == nil || s.compare(&lives[i], g, best.life, best.seg) > 0 {
			best.life, best.seg = &lives[i], g
		}
	}
	return best
}

func (s *State) compare(al *life, a *segment, bl *life, b *segment) int {
	paid := func(g *segment) int {
		if g.paid {
			return 1
		}
		return 0
	}
	plans := &s.cfg.Plans
	return cmp.Or(cmp.Compare(paid(a), paid(b)),
		cmp.Compare(plans.rank(a.effective()), plans.rank(b.effective())),
		cmp.Compare(a.effective(), b.effective()),
		a.version.Stamp.compare(b.version.Stamp), cmp.Compare(al.id, bl.id))
}
