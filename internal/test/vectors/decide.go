package main

import (
	"math/rand/v2"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

const aboutDecide = "The decision about a customer on a plan, from the catalog of plans and gates, an override (null: none) and the usage in the window that " +
	"contains `now`. Only the servers decide; apps read the result."

type decideCase struct {
	Name     string          `json:"name,omitempty"`
	Plans    []gate.Plan     `json:"plans"`
	Gate     gate.Gate       `json:"gate"`
	Customer string          `json:"customer"`
	Plan     string          `json:"plan"`
	Override *gate.Override  `json:"override"`
	Used     events.Value    `json:"used"`
	Now      time.Time       `json:"now"`
	Want     events.Decision `json:"want"`
}

func (c decideCase) done() any {
	c.Plans = []gate.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}, {Name: "lite"}}
	c.Customer = "bob"
	cat := gate.Catalog{Plans: c.Plans, Gates: []gate.Gate{c.Gate}}
	usage := gate.Usage{Start: *hour(-24), End: *hour(24), UnblocksAt: *hour(24), Used: c.Used, AsOf: *hour(-1)}
	c.Want = gate.Decide(&cat, &cat.Gates[0], c.Customer, c.Plan, c.Override, usage, c.Now)
	return c
}

func gateWith(change func(*gate.Gate)) gate.Gate {
	g := gate.Gate{Feature: "api", Meter: gate.Meter{Event: "api", Aggregate: gate.Count}, Window: gate.WindowSpec{Kind: gate.Anniversary, Days: 30},
		Message: "Upgrade.", UpgradeURL: "https://acme.example/pricing",
		Limits: map[string]gate.Limit{"free": {Value: events.Count(100)}, "pro": {Unlimited: true}, "lite": {None: true}}}
	if change != nil {
		change(&g)
	}
	return g
}

func decideByHand() []any {
	amount := func(n int64) *events.Value { v := events.Count(n); return &v }
	var out []any
	for _, c := range []decideCase{
		{Name: "nothing used"},
		{Name: "below the level", Used: events.Count(79)},
		{Name: "at the level", Used: events.Count(80)},
		{Name: "the last but one", Used: events.Count(99)},
		{Name: "at the limit", Used: events.Count(100)},
		{Name: "beyond it", Used: events.Count(107)},
		{Name: "unlimited", Plan: "pro", Used: events.Count(1e6)},
		{Name: "a plan that is not configured", Plan: "gone", Used: events.Count(1e6)},
		{Name: "not in the plan", Plan: "lite"},
		{Name: "a limit of 0", Gate: gateWith(func(g *gate.Gate) { g.Limits["free"] = gate.Limit{} })},
		{Name: "a fraction of a limit", Gate: gateWith(func(g *gate.Gate) { g.Limits["free"] = gate.Limit{Value: events.Value{Nanos: 500_000_000}} })},
		{Name: "shadow", Used: events.Count(100), Gate: gateWith(func(g *gate.Gate) { g.Shadow = true })},
		{Name: "before it is enforced", Used: events.Count(100), Gate: gateWith(func(g *gate.Gate) { g.EnforceFrom = hour(1) })},
		{Name: "enforced from now on", Used: events.Count(100), Gate: gateWith(func(g *gate.Gate) { g.EnforceFrom = hour(0) })},
		{Name: "an override lifts", Used: events.Count(150), Override: &gate.Override{Limit: amount(200)}},
		{Name: "an override lowers", Plan: "pro", Used: events.Count(5), Override: &gate.Override{Limit: amount(5)}},
		{Name: "an override that is over", Used: events.Count(100), Override: &gate.Override{Limit: amount(200), Until: hour(0)}},
		{Name: "a grant in its window", Used: events.Count(100), Override: &gate.Override{Grant: amount(50), At: hour(-1)}},
		{Name: "a grant of a former window", Used: events.Count(100), Override: &gate.Override{Grant: amount(50), At: hour(-25)}},
		{Name: "limit and grant", Used: events.Count(249), Override: &gate.Override{Limit: amount(200), Grant: amount(50), At: hour(-1)}},
	} {
		if c.Gate.Feature == "" {
			c.Gate = gateWith(nil)
		}
		c.Now = noon
		out = append(out, c.done())
	}
	return out
}

func drawDecide(r *rand.Rand) any {
	c := decideCase{Plan: pick(r, "", "free", "pro", "lite", "gone"), Used: drawAmount(r, 12), Now: *hour(r.IntN(5) - 2)}
	c.Gate = gateWith(func(g *gate.Gate) {
		g.Limits["free"] = gate.Limit{Value: drawAmount(r, 10)}
		g.Shadow = one(r, 6)
		g.WarnAt = pick(r, nil, []int{50}, []int{80, 95}, []int{90})
		if one(r, 4) {
			g.EnforceFrom = hour(r.IntN(5) - 2)
		}
	})
	if one(r, 2) {
		c.Override = &gate.Override{}
		if one(r, 2) {
			c.Override.Limit = ptr(drawAmount(r, 15))
		}
		if one(r, 2) {
			c.Override.Grant, c.Override.At = ptr(drawAmount(r, 5)), pick(r, hour(-25), hour(-1), nil)
		}
		if one(r, 3) {
			c.Override.Until = hour(r.IntN(5) - 2)
		}
	}
	return c.done()
}
