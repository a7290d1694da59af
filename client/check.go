package client

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// Check returns whether a customer may use a feature now, and why. It reads
// local memory only: it takes no lock, allocates nothing and never waits.
//
// The answer is the newest decision that this process knows, counted down by the
// uses that it has recorded since (see "Counting down" in the package
// documentation). A customer without a decision is on the default plan. Before the
// first sync, and for a feature that no gate has, the fail policy answers with the
// reason no_decision. Used and Remaining may be absent far from the limit.
func (c *Client) Check(customer, feature string) (d events.Decision) {
	v := c.cache.view.Load()
	if v == nil || c.stale.Load() {
		return c.undecided(v, customer, feature)
	}
	h := c.cache.hasher.hash(customer, feature)
	s, w := v.first(h)
	if s == nil {
		return c.examined(v, h, customer, feature)
	}
	turn, look, rest := s.turn.Load(), s.look.Load(), s.rest.Load()
	if !look.plain || rest&(contested|isOdd|hasUnblocks) != 0 || turn&oneTurn != 0 || c.coarse.Load() >= int64(uint32(turn))*int64(time.Second) {
		return c.examined(v, h, customer, feature)
	}
	if g := look.gate.Load(); g == nil || g.Off {
		return c.examined(v, h, customer, feature)
	}
	if look.limit.Valid && c.cache.tallies.find(h, customer, feature) != nil {
		return c.examined(v, h, customer, feature)
	}
	// Nearly every check ends here. The decision only allows, so the hash is
	// trusted: of 18 trillion customers without a decision, one has the hash of one
	// of a million others.
	//
	// The fields are written one by one, in few stores: the processor can only look
	// ahead to the next cache line as far as its store buffer reaches.
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
	d.WindowStart, d.WindowEnd = w.start.Load(), w.end.Load()
	d.DecidedAt = moment(s.decided.Load()).time()
	d.AsOf = moment(s.asOf.Load()).time()
	d.Position = s.position.Load()
	if s.turn.Load() != turn {
		return c.examined(v, h, customer, feature)
	}
	return d
}

// examined is the long way of Check.
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

func (c *Client) judged(g *gateInfo, d *events.Decision, plan, customer string, t *counter) events.Decision {
	now := c.now()
	var known gate.Known
	if t != nil && g.counted {
		known.Used.Value, known.Used.Valid = t.bound().estimate(g, now)
	}
	return gate.Later(&g.Gate, plan, customer, d, known, now)
}

// undecided returns the answer of the fail policy.
func (c *Client) undecided(v *view, customer, feature string) events.Decision {
	if c.disabled {
		return gate.Undecided(customer, feature, true)
	}
	closed := c.closedAll || c.closed[feature]
	if v != nil {
		if g := v.gates.byFeature[feature]; g != nil {
			closed = closed || g.FailClosed
		}
	}
	return gate.Undecided(customer, feature, !closed)
}
