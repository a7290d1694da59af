package gate

import (
	"encoding/json"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Usage is a customer's usage in the window that contains now. The zero value
// stands for a customer without usage and without a window.
type Usage struct {
	Start, End time.Time    // zero: not known
	Used       events.Value // total
	// UnblocksAt is when the total falls below the limit without further usage: End,
	// or for a rolling window when enough buckets have fallen out. Zero: not known.
	UnblocksAt time.Time
	AsOf       time.Time // when the newest usage was stored; zero: the decision is as of the moment it is made
}

// Override changes a customer's limit of one feature.
type Override struct {
	_      struct{}      `cbor:",toarray"`
	Limit  *events.Value `json:"-" cbor:"limit"`   // replaces the plan's limit; in JSON, "limit" is Unlimited, too
	Grant  *events.Value `json:"grant,omitempty"`  // adds to the limit of the window it was given in
	Until  *time.Time    `json:"until,omitempty"`  // nil: for good
	Reason string        `json:"reason,omitempty"` // shown by explain
	At     *time.Time    `json:"at,omitempty"`     // when it was given; set on acceptance

	Unlimited bool `json:"-" cbor:"unlimited"` // in place of a Limit: none at all
}

// overrideJSON is an Override in JSON.
type overrideJSON struct {
	Limit json.RawMessage `json:"limit,omitempty"` // a number, or "unlimited"
	*plainOverride
}

type plainOverride Override

const unlimitedJSON = `"unlimited"`

// MarshalJSON implements json.Marshaler.
func (o Override) MarshalJSON() ([]byte, error) {
	v := overrideJSON{plainOverride: (*plainOverride)(&o)}
	switch {
	case o.Unlimited:
		v.Limit = json.RawMessage(unlimitedJSON)
	case o.Limit != nil:
		limit, err := json.Marshal(o.Limit)
		if err != nil {
			return nil, err
		}
		v.Limit = limit
	}
	return json.Marshal(v)
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Override) UnmarshalJSON(b []byte) error {
	*o = Override{}
	v := overrideJSON{plainOverride: (*plainOverride)(o)}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch {
	case string(v.Limit) == unlimitedJSON:
		o.Unlimited = true
	case len(v.Limit) > 0:
		return json.Unmarshal(v.Limit, &o.Limit)
	}
	return nil
}

// Decide returns the decision about a customer on the named plan ("": the default
// plan). It is pure: equal arguments give equal decisions. The caller fills in
// Position. Later puts the gate's emergency switch over the decision.
func Decide(c *Catalog, g *Gate, customer, planName string, o *Override, u Usage, now time.Time) events.Decision {
	p := c.Plan(planName)
	d := events.Decision{
		Customer: customer, Feature: g.Feature, Plan: p.Name, Allowed: true,
		WindowStart: pointer(u.Start), WindowEnd: pointer(u.End),
		UpgradeURL: g.UpgradeURL, DecidedAt: now.UTC(), AsOf: u.AsOf.UTC(), Used: events.Some(u.Used),
	}
	if u.AsOf.IsZero() {
		d.AsOf = d.DecidedAt
	}
	limit, overridden := effective(g.LimitOf(p.Name), o, u, now)
	switch {
	case limit.Unlimited:
		d.Reason = events.Unlimited
		if overridden {
			d.Reason = events.Overridden
		}
		return d
	case limit.None:
		d.Limit, d.Remaining = events.Some(events.Value{}), events.Some(events.Value{})
		return g.block(d, events.NotInPlan, now)
	}
	d.Limit = events.Some(limit.Value)
	d.Remaining = events.Some(limit.Value.Sub(u.Used).Max(events.Value{}))
	if u.Used.Cmp(limit.Value) >= 0 {
		if limit.Value.Sign() > 0 {
			d.UnblocksAt = pointer(u.UnblocksAt)
		}
		return g.block(d, events.LimitReached, now)
	}
	d.Reason = events.WithinLimit
	if overridden {
		d.Reason = events.Overridden
	} else if u.Used.Sign() > 0 && u.Used.Cmp(g.Near(limit.Value)) >= 0 {
		d.Reason = events.NearLimit
	}
	return d
}

func (g *Gate) block(d events.Decision, why events.Reason, now time.Time) events.Decision {
	d.Message = messageOf(why, g.Message)
	if g.Shadow || g.EnforceFrom != nil && now.Before(*g.EnforceFrom) {
		d.Reason, d.WouldBlock = events.Shadow, true
		return d
	}
	d.Allowed, d.Reason = false, why
	return d
}

// effective returns the limit in force for a customer, and whether an override
// made it. A grant counts only in the window in which it was given.
func effective(l Limit, o *Override, u Usage, now time.Time) (Limit, bool) {
	if o == nil || o.Until != nil && !now.Before(*o.Until) {
		return l, false
	}
	switch {
	case o.Unlimited:
		return Limit{Unlimited: true}, true
	case o.Limit != nil:
		l = Limit{Value: *o.Limit}
	}
	if o.Grant != nil && !l.Unlimited && grantCounts(o, u) {
		l.None = false
		if sum, err := l.Value.Add(*o.Grant); err == nil {
			l.Value = sum
		} else {
			l = Limit{Unlimited: true}
		}
		return l, true
	}
	return l, o.Limit != nil
}

func grantCounts(o *Override, u Usage) bool {
	if o.At == nil || u.Start.IsZero() || u.End.IsZero() {
		return true
	}
	return !o.At.Before(u.Start) && o.At.Before(u.End)
}

func pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
