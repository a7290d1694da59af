package main

import (
	"math/rand/v2"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

const aboutLater = "What the newest decision about a customer (null: there is none) means at `now`, given what the gate says and how much usage is known " +
	"beside it (`used`, null: nothing; `exact`: else a lower bound). Only what is in `want` is compared; moments are RFC 3339, and null where absent."

// laterCase is a case of the table later.
type laterCase struct {
	Name        string           `json:"name,omitempty"`
	Gate        events.Gate      `json:"gate"`
	DefaultPlan string           `json:"default_plan"`
	Customer    string           `json:"customer"`
	Decision    *events.Decision `json:"decision"`
	Used        events.NullValue `json:"used"`
	Exact       bool             `json:"exact,omitempty"`
	Now         time.Time        `json:"now"`
	Want        events.Decision  `json:"want"`
}

func (c laterCase) done() any {
	c.DefaultPlan, c.Customer = "free", "bob"
	c.Want = gate.Later(&c.Gate, c.DefaultPlan, c.Customer, c.Decision, gate.Known{Used: c.Used, Exact: c.Exact}, c.Now)
	return c
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func hour(n int) *time.Time {
	t := noon.Add(time.Duration(n) * time.Hour)
	return &t
}

func count(n int64) events.NullValue { return events.Some(events.Count(n)) }

func apiGate(limit int64) events.Gate {
	return events.Gate{Feature: "api", Event: "api", Aggregate: "count", InPlan: true, Limit: count(limit), Near: 80, Period: "30d", Window: "anniversary",
		Message: "Upgrade to continue.", UpgradeURL: "https://acme.example/pricing"}
}

func allowed(used, limit int64) events.Decision {
	return events.Decision{Customer: "bob", Feature: "api", Allowed: true, Reason: events.WithinLimit, Plan: "free", Limit: count(limit), Used: count(used),
		Remaining: count(limit - used), WindowStart: hour(-24), WindowEnd: hour(24), DecidedAt: *hour(-1), AsOf: *hour(-1)}
}

func blocked(reason events.Reason, until *time.Time) events.Decision {
	d := allowed(100, 100)
	d.Allowed, d.Reason, d.UnblocksAt, d.Message = false, reason, until, "You've reached your limit."
	return d
}

func laterByHand() []any {
	near, strange, none := allowed(90, 100), allowed(90, 100), blocked(events.NotInPlan, nil)
	near.Reason, strange.Reason = events.NearLimit, "fair_use"
	none.Limit, none.Used, none.Remaining = count(0), count(0), count(0)
	zero := blocked(events.LimitReached, nil)
	zero.Limit, zero.WindowEnd = count(0), hour(0)
	shadow := blocked(events.Shadow, hour(24))
	shadow.Allowed, shadow.WouldBlock = true, true
	ended, own, unlimited := near, near, allowed(5, 100)
	ended.WindowEnd = hour(0)
	own.Reason, own.Limit, own.Remaining = events.Overridden, count(200), count(110)
	unlimited.Reason, unlimited.Limit, unlimited.Remaining = events.Unlimited, events.NullValue{}, events.NullValue{}
	half := events.Some(events.Value{Nanos: 500_000_000})
	with := func(change func(g *events.Gate)) events.Gate {
		g := apiGate(100)
		change(&g)
		return g
	}
	var out []any
	for _, c := range []laterCase{
		{Name: "a new customer", Gate: apiGate(100)},
		{Name: "a new customer, counted", Gate: apiGate(100), Used: count(40)},
		{Name: "a new customer, counted to the level", Gate: apiGate(100), Used: count(80)},
		{Name: "a new customer, counted to the limit", Gate: apiGate(100), Used: count(100)},
		{Name: "a limit of 0", Gate: apiGate(0)},
		{Name: "a fraction", Gate: with(func(g *events.Gate) { g.Aggregate, g.Limit = "sum", half }), Used: half},
		{Name: "not in the default plan", Gate: with(func(g *events.Gate) { g.InPlan = false })},
		{Name: "not in the default plan, with the built-in message", Gate: with(func(g *events.Gate) { g.InPlan, g.Message = false, gate.DefaultMessage })},
		{Name: "unlimited", Gate: with(func(g *events.Gate) { g.Limit = events.NullValue{} }), Used: count(1000)},
		{Name: "off", Gate: with(func(g *events.Gate) { g.Off, g.InPlan = true, false })},
		{Name: "shadow", Gate: with(func(g *events.Gate) { g.Shadow, g.InPlan = true, false })},
		{Name: "not enforced yet", Gate: with(func(g *events.Gate) { g.EnforceFrom = hour(1) }), Used: count(100)},
		{Name: "enforced from now on", Gate: with(func(g *events.Gate) { g.EnforceFrom = hour(0) }), Used: count(100)},
		{Name: "blocked", Gate: apiGate(100), Decision: ptr(blocked(events.LimitReached, hour(24)))},
		{Name: "blocked, for ever", Gate: apiGate(100), Decision: ptr(blocked(events.LimitReached, nil))},
		{Name: "a block that ends now", Gate: apiGate(100), Decision: ptr(blocked(events.LimitReached, hour(0)))},
		{Name: "a block that has ended, counted since", Gate: apiGate(100), Decision: ptr(blocked(events.LimitReached, hour(-1))), Used: count(30)},
		{Name: "a block of a limit of 0 does not end with its window", Gate: apiGate(0), Decision: ptr(zero)},
		{Name: "blocked, then off", Gate: with(func(g *events.Gate) { g.Off = true }), Decision: ptr(blocked(events.LimitReached, hour(24)))},
		{Name: "blocked, then shadow", Gate: with(func(g *events.Gate) { g.Shadow = true }), Decision: ptr(blocked(events.LimitReached, hour(24)))},
		{Name: "shadow, then not", Gate: apiGate(100), Decision: &shadow},
		{Name: "shadow until a moment ago", Gate: with(func(g *events.Gate) { g.EnforceFrom = hour(0) }), Decision: &shadow},
		{Name: "near", Gate: apiGate(100), Decision: &near},
		{Name: "near, counted less", Gate: apiGate(100), Decision: &near, Used: count(2)},
		{Name: "near, counted less by the owner", Gate: apiGate(100), Decision: &near, Used: count(2), Exact: true},
		{Name: "near, counted to the limit", Gate: apiGate(100), Decision: &near, Used: count(100)},
		{Name: "near, beyond the limit", Gate: apiGate(100), Decision: &near, Used: count(105)},
		{Name: "near, of a window that is over", Gate: apiGate(100), Decision: &ended},
		{Name: "near, of a window that is over, counted since", Gate: apiGate(100), Decision: &ended, Used: count(3)},
		{Name: "a rolling window does not say when it lets go", Gate: with(func(g *events.Gate) { g.Window = "rolling" }), Decision: &near, Used: count(100)},
		{Name: "an override", Gate: apiGate(100), Decision: &own, Used: count(150)},
		{Name: "an override, reached", Gate: apiGate(100), Decision: &own, Used: count(200)},
		{Name: "a paid plan", Gate: apiGate(100), Decision: &unlimited, Used: count(1e6)},
		{Name: "not in the plan", Gate: apiGate(100), Decision: &none},
		{Name: "a reason that is not known", Gate: apiGate(100), Decision: &strange, Used: count(100)},
		{Name: "off until a moment ago", Gate: apiGate(100), Decision: ptr(func() events.Decision { d := allowed(5, 100); d.Reason = events.GateOff; return d }())},
	} {
		c.Now = noon
		out = append(out, c.done())
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func one(r *rand.Rand, in int) bool { return r.IntN(in) == 0 }

// drawAmount returns mostly a whole number, else a fraction.
func drawAmount(r *rand.Rand, most int64) events.Value {
	v := events.Count(r.Int64N(most + 1))
	if one(r, 6) {
		v.Nanos = pick[int32](r, 500_000_000, 1, 999_999_999)
	}
	return v
}

func drawHour(r *rand.Rand, absent int) *time.Time {
	if one(r, absent) {
		return nil
	}
	return hour(r.IntN(9) - 4)
}

func drawGate(r *rand.Rand) events.Gate {
	g := apiGate(0)
	g.Limit.Value = drawAmount(r, 10)
	g.Aggregate = pick(r, "count", "count", "sum", "max", "unique")
	g.Near = pick(r, 0, 50, 80)
	g.Limit.Valid, g.InPlan = !one(r, 6), !one(r, 8)
	g.Shadow, g.Off = one(r, 8), one(r, 12)
	g.Window, g.Period = pick(r, "anniversary", "anniversary", "rolling", "calendar"), "30d"
	if g.Window == "calendar" {
		g.Period = pick(r, "month", "day")
	}
	if one(r, 5) {
		g.EnforceFrom = hour(r.IntN(9) - 4)
	}
	return g
}

func drawDecision(r *rand.Rand) *events.Decision {
	if one(r, 6) {
		return nil
	}
	d := events.Decision{Customer: "bob", Feature: "api", Plan: pick(r, "free", "pro"), DecidedAt: *hour(r.IntN(6) - 5), Position: r.Int64N(1000),
		Reason: pick(r, events.WithinLimit, events.WithinLimit, events.NearLimit, events.LimitReached, events.LimitReached, events.Unlimited,
			events.Overridden, events.Shadow, events.NotInPlan, events.GateOff, "fair_use")}
	d.AsOf = d.DecidedAt
	switch d.Reason {
	case events.LimitReached, events.NotInPlan:
	case events.Shadow:
		d.Allowed, d.WouldBlock = true, true
	case "fair_use":
		d.Allowed = one(r, 2)
	default:
		d.Allowed = true
	}
	if d.Reason != events.Unlimited {
		d.Limit = events.Some(drawAmount(r, 10))
	}
	if !one(r, 3) {
		d.Used = events.Some(drawAmount(r, 12))
		if d.Limit.Valid {
			d.Remaining = events.Some(d.Limit.Sub(d.Used.Value).Max(events.Value{}))
		}
	}
	if d.WindowEnd = drawHour(r, 4); d.WindowEnd != nil {
		d.WindowStart = hour(-6)
	}
	if !d.Allowed || d.WouldBlock {
		if d.UnblocksAt = d.WindowEnd; one(r, 5) {
			d.UnblocksAt = drawHour(r, 2)
		}
		d.Message = pick(r, "", "You've reached your limit.")
	}
	d.UpgradeURL = pick(r, "", "https://acme.example/u/1")
	return &d
}

func drawLater(r *rand.Rand) any {
	c := laterCase{Gate: drawGate(r), Decision: drawDecision(r), Now: *hour(r.IntN(7) - 3), Exact: one(r, 6)}
	if !one(r, 3) {
		c.Used = events.Some(drawAmount(r, 12))
	}
	return c.done()
}
