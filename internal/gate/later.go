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
	if d != nil && d.Reason == events.NoDecision {
		return *d // the fail policy decided, as nothing is known
	}
	if d == nil {
		j = unknown(g, defaultPlan, customer)
	} else {
		j = renewed(g, defaultPlan, d, now)
	}
	j = counted(g, j, k)
	return switched(g, j, now)
}

// unknown is the decision about a customer of whom the servers have said nothing.
func unknown(g *events.Gate, defaultPlan, customer string) events.Decision {
	j := events.Decision{Customer: customer, Feature: g.Feature, Plan: defaultPlan, Allowed: true, Reason: events.WithinLimit,
		Limit: g.Limit, UpgradeURL: g.UpgradeURL}
	switch {
	case !g.InPlan:
		zero := events.Some(events.Value{})
		j.Allowed, j.Reason, j.Limit, j.Remaining = false, events.NotInPlan, zero, zero
	case !g.Limit.Valid:
		j.Reason = events.Unlimited
	}
	return j
}

// renewed is decision d at now, after the time that has passed since.
func renewed(g *events.Gate, defaultPlan string, d *events.Decision, now time.Time) events.Decision {
	j := *d
	if j.Reason == events.GateOff && !g.Off { // the gate has been switched on since
		j.Reason = allowedReason(&j)
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
		j.Reason = allowedReason(&j)
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

func allowedReason(d *events.Decision) events.Reason {
	if d.Limit.Valid {
		return events.WithinLimit
	}
	return events.Unlimited
}

// counted puts what is known of the usage into j, and blocks at the limit.
func counted(g *events.Gate, j events.Decision, k Known) events.Decision {
	if !understood(j.Reason) {
		return j
	}
	if k.AsOf.After(j.AsOf) {
		j.AsOf = k.AsOf.UTC()
	}
	if k.outdated(&j) {
		k.Used.Valid = false
	} else if k.Exact || k.Used.Valid && (!j.Used.Valid || k.Used.Cmp(j.Used.Value) > 0) {
		j = k.shown(j)
	}
	if !j.Limit.Valid {
		return j
	}
	if j.Used.Valid {
		j.Remaining = events.Some(j.Limit.Sub(j.Used.Value).Max(events.Value{}))
	}
	if !j.Allowed || j.WouldBlock || g.Off {
		return j
	}
	switch over := k.Used.Valid && j.Used.Cmp(j.Limit.Value) >= 0; {
	case over || j.Limit.Sign() <= 0:
		j.Allowed, j.Reason = false, events.LimitReached
		j.Remaining = events.Some(events.Value{})
		// A rolling window lets go before it ends: only its owner knows when.
		if j.Limit.Sign() > 0 && WindowKind(g.Window) != Rolling {
			j.UnblocksAt = j.WindowEnd
		}
	case !k.Used.Valid || g.Near == 0 || j.Reason == events.Overridden:
	case j.Used.Sign() > 0 && j.Used.Cmp(j.Limit.Percent(g.Near)) >= 0:
		j.Reason = events.NearLimit
	default:
		j.Reason = events.WithinLimit
	}
	return j
}

// shown is j with the usage and the window of k.
func (k *Known) shown(j events.Decision) events.Decision {
	if k.Used.Valid {
		j.Used = k.Used
	}
	if !k.Start.IsZero() || !k.End.IsZero() {
		j.WindowStart, j.WindowEnd = pointer(k.Start), pointer(k.End)
	}
	return j
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

// switched puts the gate's switches over a decision, and the message under a
// block.
func switched(g *events.Gate, j events.Decision, now time.Time) events.Decision {
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

// Undecided returns the answer before the first sync and for a feature that no
// gate has: that of the fail policy.
func Undecided(customer, feature string, allowed bool) events.Decision {
	return events.Decision{Customer: customer, Feature: feature, Allowed: allowed, Reason: events.NoDecision}
}
