package gate

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Known is what is known of a customer's usage beside a decision. The zero value
// knows nothing.
type Known struct {
	Used       events.NullValue // in the window that contains now
	Exact      bool             // Used is the usage, also if it is less than the decision says; else it is a lower bound
	Start, End time.Time        // the window, where it is known
	AsOf       time.Time        // when the newest usage in Used was stored; zero: not known
}

// Later returns what the newest decision d about a customer means at now, given
// what gate g says at present. d is nil for a customer without a decision: one of
// the default plan.
//
//   - A block ends at its unblocks_at. A window that is over says nothing of the
//     usage in the next one.
//   - Usage that k knows beside the decision can block, and never unblocks: who
//     counts more tells so by a newer decision.
//   - The gate's switches are put over all of this: off allows, shadow and a later
//     enforce_from allow and say would_block. A decision from before enforce_from
//     blocks from then on.
//   - What a newer server says and this code does not know (a reason, a period, an
//     aggregate) is passed on and never counted down.
//
// Later is pure. Applying it twice at the same moment changes nothing.
func Later(g *events.Gate, defaultPlan, customer string, d *events.Decision, k Known, now time.Time) events.Decision {
	var j events.Decision
	switch {
	case d == nil:
		unknown(g, defaultPlan, customer, &j)
	case d.Reason == events.NoDecision:
		return *d // the fail policy decided, as nothing is known
	default:
		j = *d
		renew(g, defaultPlan, &j, now)
	}
	count(g, &j, &k)
	applySwitches(g, &j, now)
	return j
}

// unknown makes the decision about a customer of whom the servers have said
// nothing.
func unknown(g *events.Gate, defaultPlan, customer string, j *events.Decision) {
	j.Customer, j.Feature, j.Plan, j.Allowed, j.Reason = customer, g.Feature, defaultPlan, true, events.WithinLimit
	j.Limit, j.UpgradeURL = g.Limit, g.UpgradeURL
	switch {
	case !g.InPlan:
		zero := events.Some(events.Value{})
		j.Allowed, j.Reason, j.Limit, j.Remaining = false, events.NotInPlan, zero, zero
	case !g.Limit.Valid:
		j.Reason = events.Unlimited
	}
}

// renew applies the time that has passed since the decision.
func renew(g *events.Gate, defaultPlan string, j *events.Decision, now time.Time) {
	if j.Reason == events.GateOff && !g.Off { // the gate has been switched on since
		j.Reason = allowedReason(j)
	}
	// A decision from before that moment can't know of it.
	if j.WouldBlock && !g.Shadow && g.EnforceFrom != nil && j.DecidedAt.Before(*g.EnforceFrom) && !now.Before(*g.EnforceFrom) {
		j.Allowed, j.WouldBlock, j.Reason = false, false, events.LimitReached
		if j.Limit.Valid && j.Limit.Sign() == 0 && (j.Plan != defaultPlan || !g.InPlan) {
			j.Reason = events.NotInPlan
		}
	}
	if (!j.Allowed || j.WouldBlock) && j.UnblocksAt != nil && !now.Before(*j.UnblocksAt) {
		j.Allowed, j.WouldBlock, j.UnblocksAt, j.Message = true, false, nil, ""
		j.Used, j.Remaining = events.NullValue{}, events.NullValue{}
		j.Reason = allowedReason(j)
	}
	if j.WindowEnd != nil && !now.Before(*j.WindowEnd) && j.Allowed && !j.WouldBlock {
		j.WindowStart, j.WindowEnd = nil, nil
		j.Used, j.Remaining = events.NullValue{}, events.NullValue{}
		if j.Reason == events.NearLimit {
			j.Reason = events.WithinLimit
		}
	}
}

func allowedReason(d *events.Decision) events.Reason {
	if d.Limit.Valid {
		return events.WithinLimit
	}
	return events.Unlimited
}

// count puts the known usage into j, and blocks at the limit.
func count(g *events.Gate, j *events.Decision, k *Known) {
	if !understood(j.Reason) {
		return
	}
	if k.AsOf.After(j.AsOf) {
		j.AsOf = k.AsOf.UTC()
	}
	counted := k.Used.Valid && !k.outdated(j)
	if counted && (k.Exact || !j.Used.Valid || k.Used.Cmp(j.Used.Value) > 0) {
		j.Used = k.Used
		if !k.Start.IsZero() || !k.End.IsZero() {
			j.WindowStart, j.WindowEnd = pointer(k.Start), pointer(k.End)
		}
	}
	if !j.Limit.Valid {
		return
	}
	if j.Used.Valid {
		j.Remaining = events.Some(j.Limit.Sub(j.Used.Value).Max(events.Value{}))
	}
	if !j.Allowed || j.WouldBlock || g.Off {
		return
	}
	switch {
	case counted && j.Used.Cmp(j.Limit.Value) >= 0 || j.Limit.Sign() <= 0:
		j.Allowed, j.Reason = false, events.LimitReached
		j.Remaining = events.Some(events.Value{})
		// A rolling window lets go before it ends: only its owner knows when.
		if j.Limit.Sign() > 0 && WindowKind(g.Window) != Rolling {
			j.UnblocksAt = j.WindowEnd
		}
	case !counted || g.Near == 0 || j.Reason == events.Overridden:
	case j.Used.Sign() > 0 && j.Used.Cmp(j.Limit.Percent(g.Near)) >= 0:
		j.Reason = events.NearLimit
	default:
		j.Reason = events.WithinLimit
	}
}

// outdated reports whether k speaks of a window before the decision's.
func (k *Known) outdated(j *events.Decision) bool {
	return j.WindowStart != nil && !k.Start.IsZero() && k.Start.Before(*j.WindowStart)
}

// understood reports whether this code knows what a reason means.
func understood(r events.Reason) bool {
	switch r {
	case events.WithinLimit, events.NearLimit, events.LimitReached, events.Unlimited, events.Overridden, events.Shadow, events.NotInPlan, events.GateOff:
		return true
	}
	return false
}

// applySwitches puts the gate's switches over a decision, and the message under a
// block.
func applySwitches(g *events.Gate, j *events.Decision, now time.Time) {
	why := j.Reason
	switch {
	case g.Off:
		j.Allowed, j.WouldBlock, j.Reason, j.UnblocksAt, j.Message = true, false, events.GateOff, nil, ""
		return
	case j.Allowed && !j.WouldBlock:
		return
	case g.Shadow || g.EnforceFrom != nil && now.Before(*g.EnforceFrom):
		j.Allowed, j.WouldBlock, j.Reason = true, true, events.Shadow
	}
	if j.Message == "" {
		j.Message = messageOf(why, g.Message)
	}
	if j.UpgradeURL == "" {
		j.UpgradeURL = g.UpgradeURL
	}
}

// Undecided returns the answer before the first sync and for a feature that no
// gate has: that of the fail policy.
func Undecided(customer, feature string, allowed bool) events.Decision {
	return events.Decision{Customer: customer, Feature: feature, Allowed: allowed, Reason: events.NoDecision}
}
