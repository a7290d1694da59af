package gate

import (
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Catalog is the part of a configuration that windows and decisions depend on.
// Control events and snapshots hold it as JSON, so a released field keeps its
// meaning.
type Catalog struct {
	Plans []Plan `json:"plans"`
	Gates []Gate `json:"gates"`
}

// Plan is a plan that customers can be on.
type Plan struct {
	Name    string `json:"name"`
	Default bool   `json:"default,omitempty"` // of customers without a subscription
	Paid    bool   `json:"paid,omitempty"`    // some Stripe price leads to it
}

// Gate limits a feature.
type Gate struct {
	Feature     string           `json:"feature"`
	Triggers    []events.Trigger `json:"triggers,omitempty"`
	Meter       Meter            `json:"meter"`
	Limits      map[string]Limit `json:"limits"` // by plan; see LimitOf for one that is not named
	Window      WindowSpec       `json:"window"`
	WarnAt      []int            `json:"warn_at,omitempty"` // percent, ascending, 1 to 99
	Shadow      bool             `json:"shadow,omitempty"`
	EnforceFrom *time.Time       `json:"enforce_from,omitempty"`
	FailClosed  bool             `json:"fail_closed,omitempty"`
	Message     string           `json:"message,omitempty"`
	UpgradeURL  string           `json:"upgrade_url,omitempty"`
	Template    string           `json:"template,omitempty"` // of the upgrade mail; "" sends none
	Warnings    bool             `json:"warnings,omitempty"` // a mail at each level of WarnAt, too
}

// Aggregate is how events of a window become its total.
type Aggregate string

// The aggregates.
const (
	Count  Aggregate = "count"
	Sum    Aggregate = "sum"
	Max    Aggregate = "max"
	Unique Aggregate = "unique"
)

// Whole reports whether totals, and so limits, have no fractions.
func (a Aggregate) Whole() bool { return a != Sum && a != Max }

// DefaultUniqueCap is how many different values a unique meter tells apart by
// default.
const DefaultUniqueCap = 10_000

// Meter says which events count and how.
type Meter struct {
	Event     string    `json:"event"`
	Aggregate Aggregate `json:"aggregate"`
	Value     string    `json:"value,omitempty"` // path in data, without "$."
	Cap       int       `json:"cap,omitempty"`   // unique: stays at this total beyond it
}

// Limit is a plan's limit of a gate: a number, unlimited, or not in the plan.
type Limit struct {
	Value     events.Value `json:"value"`
	Unlimited bool         `json:"unlimited,omitempty"`
	None      bool         `json:"none,omitempty"`
}

// Default returns the plan of customers without a subscription.
func (c *Catalog) Default() Plan {
	for _, p := range c.Plans {
		if p.Default {
			return p
		}
	}
	return Plan{Name: "free", Default: true}
}

// Plan returns a plan by name. A name that is not configured counts as paid, so
// that removing a plan from the configuration blocks no paying customer.
func (c *Catalog) Plan(name string) Plan {
	if name == "" {
		return c.Default()
	}
	for _, p := range c.Plans {
		if p.Name == name {
			return p
		}
	}
	return Plan{Name: name, Paid: true}
}

// Gate returns a gate by feature.
func (c *Catalog) Gate(feature string) (*Gate, bool) {
	for i := range c.Gates {
		if c.Gates[i].Feature == feature {
			return &c.Gates[i], true
		}
	}
	return nil, false
}

// LimitOf returns a plan's limit. A plan that the gate does not name is unlimited.
func (g *Gate) LimitOf(plan string) Limit {
	if l, ok := g.Limits[plan]; ok {
		return l
	}
	return Limit{Unlimited: true}
}

// Thresholds returns the totals at which a decision can change, ascending: every
// plan's limit and its warning levels.
func (g *Gate) Thresholds() []events.Value {
	var ts []events.Value
	for _, l := range g.Limits {
		if l.Unlimited || l.None {
			continue
		}
		ts = append(ts, l.Value)
		for _, w := range g.warnLevels() {
			ts = append(ts, l.Value.Percent(w))
		}
	}
	slices.SortFunc(ts, events.Value.Cmp)
	return slices.Compact(ts)
}

// nearPercent is the level from which apps learn every change of `remaining`, if
// the gate has no lower warning level.
const nearPercent = 80

func (g *Gate) warnLevels() []int {
	if len(g.WarnAt) == 0 || g.WarnAt[0] > nearPercent {
		return append([]int{nearPercent}, g.WarnAt...)
	}
	return g.WarnAt
}

// Near returns the total from which apps learn every change.
func (g *Gate) Near(limit events.Value) events.Value { return limit.Percent(g.warnLevels()[0]) }

// Public returns a gate as apps see it; off is the emergency switch.
func (c *Catalog) Public(g *Gate, off bool) events.Gate {
	l := g.LimitOf(c.Default().Name)
	p := events.Gate{
		Feature: g.Feature, Event: g.Meter.Event, Aggregate: string(g.Meter.Aggregate), ValueKey: g.Meter.Value,
		Triggers: g.Triggers, Near: g.warnLevels()[0],
		InPlan: !l.None, Period: g.Window.Period(), Window: string(g.Window.Kind),
		Shadow: g.Shadow, EnforceFrom: g.EnforceFrom, Off: off, FailClosed: g.FailClosed,
		Message: g.Message, UpgradeURL: g.UpgradeURL,
	}
	if !l.Unlimited {
		p.Limit = events.Some(l.Value)
	}
	return p
}

// Announced returns the gates as apps see them, with all switches on.
func (c *Catalog) Announced() []events.Gate {
	gates := make([]events.Gate, len(c.Gates))
	for i := range c.Gates {
		gates[i] = c.Public(&c.Gates[i], false)
	}
	return gates
}

// String returns the limit as it is configured: "100", "unlimited" or "none".
func (l Limit) String() string {
	switch {
	case l.Unlimited:
		return "unlimited"
	case l.None:
		return "none"
	case l.Value.Nanos == 0:
		return strconv.FormatInt(l.Value.Units, 10)
	}
	return l.Value.String()
}
