package client

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Check says whether a customer may use a feature now. It reads local memory
// only: it takes no lock, allocates nothing and never waits.
//
// The answer is the newest decision that this process knows, less what it has
// recorded itself since (see the package's documentation). A customer without a
// decision is one of the default plan. Before the first sync, and for a feature
// that no gate has, the fail policy answers, with the reason no_decision.
// Used and Remaining may be absent far from the limit.
func (c *Client) Check(customer, feature string) (d events.Decision) {
	v := c.cache.view.Load()
	if v == nil || c.stale.Load() {
		return c.undecided(v, customer, feature)
	}
	h := c.cache.hasher.hash(customer, feature)
	s := v.first(h)
	if s == nil || !knownTimes {
		return c.examined(v, h, customer, feature)
	}
	turn, look, rest := s.turn.Load(), s.look.Load(), s.rest.Load()
	if !look.plain || rest&(contested|isOdd) != 0 || turn&oneTurn != 0 || c.coarse.Load() >= int64(uint32(turn))*int64(time.Second) {
		return c.examined(v, h, customer, feature)
	}
	if g := look.gate.Load(); g == nil || g.Off {
		return c.examined(v, h, customer, feature)
	}
	if look.limit.Valid && c.cache.tallies.find(h, customer, feature) != nil {
		return c.examined(v, h, customer, feature)
	}
	// As almost always. The hash is trusted here, where a decision only allows: of
	// 18 trillion customers without a decision, one has the hash of one of a
	// million others.
	//
	// It is written out field by field, and in few stores: the processor looks
	// ahead, to the next line that it must fetch, only as far as it can keep the
	// stores in between.
	d.Customer, d.Feature, d.Plan = customer, feature, look.plan
	d.Allowed, d.Reason = true, look.reason
	if d.UpgradeURL = look.upgradeURL; look.message != "" {
		d.Message = look.message
	}
	if rest&hasUsed != 0 {
		d.Used.Units, d.Used.Valid = rest>>restBits, true
	}
	if look.limit.Valid {
		d.Limit.Units, d.Limit.Nanos, d.Limit.Valid = look.limit.Units, look.limit.Nanos, true
		if rest&hasRemaining != 0 {
			d.Remaining = events.Some(look.limit.Sub(d.Used.Value).Max(events.Value{}))
		}
	}
	more := s.more.Load()
	if rest&hasStart != 0 {
		d.WindowStart = more.time(0)
	}
	if rest&hasEnd != 0 {
		d.WindowEnd = more.time(1)
	}
	if rest&hasUnblocks != 0 {
		d.UnblocksAt = more.time(2)
	}
	moment(s.decided.Load()).put(&d.DecidedAt)
	moment(s.asOf.Load()).put(&d.AsOf)
	d.Position = s.position.Load()
	if s.turn.Load() != turn {
		return c.examined(v, h, customer, feature)
	}
	return d
}

// examined is Check for all that needs more than a look.
func (c *Client) examined(v *view, h uint64, customer, feature string) events.Decision {
	r := v.get(h, customer, feature)
	if !r.known() {
		g := v.gates.byFeature[feature]
		if g == nil {
			return c.undecided(v, customer, feature)
		}
		t := c.cache.tallies.find(h, customer, feature)
		if t == nil && g.fresh != nil {
			d := *g.fresh
			d.Customer = customer
			return d
		}
		return c.judged(g, nil, v.gates.plan, customer, t)
	}
	g := r.look.gate.Load()
	if g == nil {
		return c.undecided(v, customer, feature)
	}
	d := r.decision(customer)
	return c.judged(g, &d, v.gates.plan, customer, c.cache.tallies.find(h, customer, feature))
}

func (c *Client) judged(g *gate, d *events.Decision, plan, customer string, t *counter) events.Decision {
	now := c.now()
	used, counted := events.Value{}, false
	if t != nil {
		used, counted = t.bound().estimate(g, now)
	}
	return judge(g, d, plan, customer, used, counted, now)
}

// undecided is the answer of the fail policy.
func (c *Client) undecided(v *view, customer, feature string) events.Decision {
	if c.disabled {
		return events.Decision{Customer: customer, Feature: feature, Allowed: true, Reason: events.NoDecision}
	}
	closed := c.closedAll || c.closed[feature]
	if v != nil {
		if g := v.gates.byFeature[feature]; g != nil {
			closed = closed || g.FailClosed
		}
	}
	return events.Decision{Customer: customer, Feature: feature, Allowed: !closed, Reason: events.NoDecision}
}

// judge is the decision of gate g about a customer at now: d is the newest
// decision, or nil for one of the default plan; used is a lower bound of the
// usage, if counted.
func judge(g *gate, d *events.Decision, plan, customer string, used events.Value, counted bool, now time.Time) events.Decision {
	var j events.Decision
	if d != nil {
		j = renewed(g, d, now)
	} else {
		j = events.Decision{Customer: customer, Feature: g.Feature, Plan: plan, Allowed: true, Reason: events.WithinLimit, Limit: g.limit(nil), UpgradeURL: g.UpgradeURL}
		switch {
		case !g.InPlan:
			j.Allowed, j.Reason = false, events.NotInPlan
			j.Remaining = events.Some(events.Value{})
		case !j.Limit.Valid:
			j.Reason = events.Unlimited
		}
	}
	if j.Limit.Valid && j.Reason != events.NotInPlan {
		if counted && (!j.Used.Valid || used.Cmp(j.Used.Value) > 0) {
			j.Used = events.Some(used)
		}
		if j.Used.Valid {
			j.Remaining = events.Some(j.Limit.Sub(j.Used.Value).Max(events.Value{}))
		}
		over := j.Limit.Sign() <= 0 || counted && used.Cmp(j.Limit.Value) >= 0
		if j.Allowed && !j.WouldBlock && over {
			j.Allowed, j.Reason = false, events.LimitReached
			j.Remaining = events.Some(events.Value{})
			if d != nil && !g.rolling && j.Limit.Sign() > 0 {
				j.UnblocksAt = j.WindowEnd
			}
		}
	}
	return enforced(g, j, now)
}

// renewed is decision d as it stands at now: a block ends by itself, and a
// window that is over says nothing of the next one.
func renewed(g *gate, d *events.Decision, now time.Time) events.Decision {
	j := *d
	// A decision of before that moment can't know of it.
	if j.WouldBlock && !g.Shadow && g.EnforceFrom != nil && j.DecidedAt.Before(*g.EnforceFrom) && !now.Before(*g.EnforceFrom) {
		j.WouldBlock, j.Allowed, j.Reason = false, false, events.LimitReached
	}
	if (!j.Allowed || j.WouldBlock) && j.UnblocksAt != nil && !now.Before(*j.UnblocksAt) {
		j.Allowed, j.WouldBlock, j.Reason, j.UnblocksAt, j.Message = true, false, events.WithinLimit, nil, ""
		j.Used, j.Remaining = events.NullValue{}, events.NullValue{}
	}
	if j.WindowEnd != nil && !now.Before(*j.WindowEnd) && j.Allowed && !j.WouldBlock {
		j.WindowStart, j.WindowEnd = nil, nil
		j.Used, j.Remaining = events.NullValue{}, events.NullValue{}
		if j.Reason == events.NearLimit {
			j.Reason = events.WithinLimit
		}
	}
	return j
}

// enforced puts the gate's switches over a decision, and the message under it.
func enforced(g *gate, j events.Decision, now time.Time) events.Decision {
	switch {
	case g.Off:
		j.Allowed, j.WouldBlock, j.Reason, j.UnblocksAt, j.Message = true, false, events.GateOff, nil, ""
		return j
	case j.Allowed && !j.WouldBlock:
		return j
	case g.Shadow || g.EnforceFrom != nil && now.Before(*g.EnforceFrom):
		j.Allowed, j.WouldBlock, j.Reason = true, true, events.Shadow
	}
	if j.Message == "" {
		j.Message = g.Message
	}
	if j.UpgradeURL == "" {
		j.UpgradeURL = g.UpgradeURL
	}
	return j
}
