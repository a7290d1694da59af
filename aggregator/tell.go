package aggregator

import (
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// settle has told what is still to be told of a window if the change that comes
// now is to be told silently and that was not, or the other way round.
func (f *folder) settle(c *customer, u *usage, silent bool) {
	if u.emit && u.silent != silent {
		f.tell(c, u)
		u.emit = false
	}
}

// touch notes that a window changed.
func (f *folder) touch(c *customer, u *usage, emit bool) {
	u.seq, u.storedAt, u.changed = f.seq, f.now.UnixMilli(), true
	u.index = f.changes
	f.changes++
	f.schedule(c, u)
	if emit && !u.closed && (u.end == 0 || u.end > f.now.UnixMilli()) {
		u.emit, u.silent = true, f.isImport
	}
	f.touched(c, u)
}

// matters says whether a change of the total can change a decision: it passed
// a threshold, or lies near a limit.
func (f *folder) matters(c *customer, g *preparedGate, before, after events.Value) bool {
	if before == after {
		return false
	}
	for _, t := range g.thresholds {
		if before.Cmp(t) < 0 && after.Cmp(t) >= 0 {
			return true
		}
	}
	for _, l := range g.near {
		if before.Cmp(l.limit) < 0 && after.Cmp(l.from) >= 0 {
			return true
		}
	}
	// From the near level of a customer's own limit on, every change counts
	// until the limit is passed.
	for _, l := range ownLimits(c, g) {
		if before.Cmp(l) < 0 && after.Cmp(g.Near(l)) >= 0 {
			return true
		}
	}
	return false
}

// blockEnds tells apart when blocks of a rolling window end by themselves: the
// sum of the starts of the buckets whose falling out takes the total below a
// limit. They only move forward, so the sum changes when one does. The enforcer
// ends a block by the buckets that it was told, and must be told those that
// prolong it.
func (f *folder) blockEnds(c *customer, u *usage, g *preparedGate, segments []gate.Segment) (sum int64) {
	if g.Window.Kind != gate.Rolling || u.detail == nil {
		return 0
	}
	from := from(g, segments, f.now)
	for _, l := range g.near {
		sum += u.detail.reaches(g, from, l.limit)
	}
	for _, l := range ownLimits(c, g) {
		sum += u.detail.reaches(g, from, l)
	}
	return sum
}

// ownLimits are the limits that a customer's override may lead to.
func ownLimits(c *customer, g *preparedGate) []events.Value {
	o, ok := c.override(g.Feature)
	if !ok || o.Limit == nil && o.Grant == nil {
		return nil
	}
	var ls []events.Value
	if o.Limit != nil {
		ls = append(ls, *o.Limit)
	} else {
		for _, l := range g.Limits {
			if !l.Unlimited {
				ls = append(ls, l.Value)
			}
		}
	}
	if o.Grant != nil {
		for i := range ls {
			if sum, err := ls[i].Add(*o.Grant); err == nil {
				ls[i] = sum
			}
		}
	}
	return ls
}
