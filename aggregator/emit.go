package aggregator

import (
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// This file decides when a change of a window is emitted to the enforcer. The
// fold only marks a window. Flush emits each marked window once, with the total
// that it has by then. A silent total causes no mail.

// markChanged notes that the current message changed a window. If emit is set and
// the window is not over, it marks the window to be emitted.
func (f *folder) markChanged(c *customer, u *usage, emit bool) {
	u.seq, u.storedAt, u.changed = f.seq, f.now.UnixMilli(), true
	u.index = f.changes
	f.changes++
	f.scheduleExpiry(c, u)
	if emit && !u.closed && (u.end == 0 || u.end > f.now.UnixMilli()) {
		u.emit, u.silent = true, f.isSilent()
	}
	f.onChange(c, u)
}

// isSilent reports whether what the current message changes causes no mail.
func (f *folder) isSilent() bool {
	return f.isImport || !f.silentUntil.IsZero() && !f.now.After(f.silentUntil)
}

// emitAgain marks a window to be emitted silently, because its total means
// something else now: limits or windows have changed.
func (f *folder) emitAgain(c *customer, u *usage) {
	f.emitBefore(c, u, true)
	f.markChanged(c, u, true)
	u.silent = true
}

// emitBefore must be called before each change that may be emitted; silent says
// whether the change is silent. If the window is already marked to be emitted in
// the other way, emitBefore emits the present total first: one total cannot be both,
// and a crossing must not lose its mail.
func (f *folder) emitBefore(c *customer, u *usage, silent bool) {
	if u.emit && u.silent != silent {
		f.emitNow(c, u)
		u.emit = false
	}
}

// canChangeDecision reports whether a change of the total can change a decision:
// the total passes a threshold, or it is near a limit.
func (f *folder) canChangeDecision(c *customer, g *preparedGate, before, after events.Value) bool {
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
	for _, l := range overrideLimits(c, g) {
		if before.Cmp(l) < 0 && after.Cmp(g.Near(l)) >= 0 {
			return true
		}
	}
	return false
}

// blockEndSum returns a number that changes when the end of a block changes.
//
// A block of a rolling window ends by itself when old buckets leave the window
// and the total falls below the limit. The enforcer computes that moment from the
// buckets that it has received, so a change that postpones it must be emitted.
// The number is the sum, over all limits, of the start of the bucket with which
// the total falls below the limit. These starts only increase, so two changes
// cannot cancel each other out.
func (f *folder) blockEndSum(c *customer, u *usage, g *preparedGate, segments []gate.Segment) (sum int64) {
	if g.Window.Kind != gate.Rolling || u.detail == nil {
		return 0
	}
	first := firstBucket(g, segments, f.now)
	for _, l := range g.near {
		sum += u.detail.reachedSince(g, first, l.limit)
	}
	for _, l := range overrideLimits(c, g) {
		sum += u.detail.reachedSince(g, first, l)
	}
	return sum
}

// overrideLimits returns the limits that the customer's override can lead to,
// whatever the plan; none without an override.
func overrideLimits(c *customer, g *preparedGate) []events.Value {
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
