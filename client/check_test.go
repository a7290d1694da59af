package client

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	block := func(until *time.Time) *events.Decision {
		d := blocked("bob", now)
		d.UnblocksAt, d.DecidedAt = until, past.Add(-time.Hour)
		return &d
	}
	near := &events.Decision{Customer: "bob", Feature: "api", Allowed: true, Reason: events.NearLimit, Plan: "free", Limit: events.Some(events.Count(100)),
		Used: events.Some(events.Count(97)), Remaining: events.Some(events.Count(3)), WindowStart: &past, WindowEnd: &future, DecidedAt: past}
	over := *near
	over.WindowEnd = &now
	shadow := *block(&future)
	shadow.Allowed, shadow.WouldBlock, shadow.Reason = true, true, events.Shadow
	none := &events.Decision{Customer: "bob", Feature: "api", Reason: events.NotInPlan, Plan: "free", Limit: events.Some(events.Value{}), Used: events.Some(events.Value{})}
	granted := *near
	granted.Reason, granted.Limit = events.Overridden, events.Some(events.Count(200))
	type gateEdit func(*events.Gate)
	plain := func(*events.Gate) {}
	for _, tt := range []struct {
		name      string
		edit      gateEdit
		d         *events.Decision
		used      int64 // -1: not counted
		allowed   bool
		reason    events.Reason
		remaining string
	}{
		{"new customer", plain, nil, -1, true, events.WithinLimit, "unlimited"},
		{"new customer, counted", plain, nil, 40, true, events.WithinLimit, "60"},
		{"new customer, counted to the limit", plain, nil, 100, false, events.LimitReached, "0"},
		{"limit 0", func(g *events.Gate) { g.Limit = events.Some(events.Value{}) }, nil, -1, false, events.LimitReached, "0"},
		{"not in the default plan", func(g *events.Gate) { g.InPlan = false }, nil, -1, false, events.NotInPlan, "0"},
		{"unlimited", func(g *events.Gate) { g.Limit = events.NullValue{} }, nil, 1000, true, events.Unlimited, "unlimited"},
		{"off without a key", func(g *events.Gate) { g.Off, g.InPlan = true, false }, nil, -1, true, events.GateOff, "0"},
		{"shadow without a key", func(g *events.Gate) { g.Shadow, g.InPlan = true, false }, nil, -1, true, events.Shadow, "0"},
		{"not yet enforced", func(g *events.Gate) { g.EnforceFrom = &future }, nil, 100, true, events.Shadow, "0"},
		{"enforced since", func(g *events.Gate) { g.EnforceFrom = &past }, nil, 100, false, events.LimitReached, "0"},
		{"blocked", plain, block(&future), -1, false, events.LimitReached, "0"},
		{"blocked for good", plain, block(nil), -1, false, events.LimitReached, "0"},
		{"block that is over", plain, block(&past), -1, true, events.WithinLimit, "unlimited"},
		{"block that ends now", plain, block(&now), -1, true, events.WithinLimit, "unlimited"},
		{"block that is over, counted since", plain, block(&past), 30, true, events.WithinLimit, "70"},
		{"blocked and off", func(g *events.Gate) { g.Off = true }, block(&future), -1, true, events.GateOff, "0"},
		{"blocked, now in shadow", func(g *events.Gate) { g.Shadow = true }, block(&future), -1, true, events.Shadow, "0"},
		{"shadow as decided", plain, &shadow, -1, true, events.Shadow, "0"},
		{"shadow until a moment ago", func(g *events.Gate) { g.EnforceFrom = &past }, &shadow, -1, false, events.LimitReached, "0"},
		{"near", plain, near, -1, true, events.NearLimit, "3"},
		{"near, counted", plain, near, 99, true, events.NearLimit, "1"},
		{"near, counted less than known", plain, near, 2, true, events.NearLimit, "3"},
		{"near, counted to the limit", plain, near, 100, false, events.LimitReached, "0"},
		{"near, of a window that is over", plain, &over, -1, true, events.WithinLimit, "unlimited"},
		{"granted more", plain, &granted, 150, true, events.Overridden, "50"},
		{"not in the plan", plain, none, -1, false, events.NotInPlan, "unlimited"},
	} {
		one := apiGate(100)
		tt.edit(&one)
		got := judge(newGate(one), tt.d, "free", "bob", events.Count(tt.used), tt.used >= 0, now)
		if got.Allowed != tt.allowed || got.Reason != tt.reason || got.Remaining.String() != tt.remaining {
			t.Errorf("%s: allowed %t, %s, %s remain; want %t, %s, %s", tt.name, got.Allowed, got.Reason, got.Remaining, tt.allowed, tt.reason, tt.remaining)
		}
		if got.WouldBlock != (tt.reason == events.Shadow) {
			t.Errorf("%s: would block: %t", tt.name, got.WouldBlock)
		}
		if !got.Allowed && (got.Message == "" || got.UpgradeURL == "") {
			t.Errorf("%s: blocked without a message", tt.name)
		}
	}
}

// What the cache keeps of a decision is all of it.
func TestRecordKeepsTheDecision(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 10, 12, 0, 0, 5000, time.UTC)
	later := at.Add(time.Hour)
	full := events.Decision{
		Customer: "a customer whose id is longer than what stands beside the value", Feature: "api", Allowed: false, Reason: events.LimitReached, Plan: "free",
		Limit: events.Some(events.Value{Units: 2, Nanos: 5e8}), Used: events.Some(events.Value{Units: 1, Nanos: 7e8}), Remaining: events.Some(events.Value{Nanos: 8e8}),
		WindowStart: &at, WindowEnd: &later, UnblocksAt: &later, Message: "m", UpgradeURL: "u", DecidedAt: at, AsOf: at, Position: 7,
	}
	unknown := full
	unknown.Used, unknown.Remaining, unknown.UnblocksAt, unknown.AsOf = events.NullValue{}, events.NullValue{}, nil, time.Time{}
	for _, want := range []events.Decision{full, unknown, allowed("bob"), {Customer: "x", Feature: "y"}} {
		body, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		n, err := newCache().decode(entry{events.DecisionKey(want.Customer, want.Feature), body})
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(n.pointer())
		if err != nil || string(again) != string(body) {
			t.Errorf("kept %s, want %s (%v)", again, body, err)
		}
	}
}

func TestValuesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := newCache()
	for key, value := range map[string]string{
		events.GatesKey: `{"partitions":0}`, "bob.api": `{"customer":"eve","feature":"api"}`, "a.b": `{`, "=own.1": "x",
	} {
		err := c.load(newDraft(0), entry{key, []byte(value)})
		if (err == nil) != (key == "=own.1") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	c, m := inMemory(t, nil, apiGate(100))
	give(t, m, events.DecisionKey("paid", "api"), allowed("paid"))
	give(t, m, events.DecisionKey("bob", "api"), blocked("bob", time.Now().Add(time.Hour)))
	if err := c.Record(t.Context(), Usage{Customer: "counted", Event: "api"}); err != nil {
		t.Fatal(err)
	}
	for _, customer := range []string{"paid", "bob", "counted", "new"} {
		if n := testing.AllocsPerRun(100, func() { c.Check(customer, "api") }); n != 0 {
			t.Errorf("%s: %v allocations", customer, n)
		}
	}
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	c, _ := inMemory(t, []Option{MaxAge(time.Hour), FailClosed("api")}, apiGate(100))
	if !c.Check("bob", "api").Allowed {
		t.Error("blocked while current")
	}
	c.stale.Store(true)
	if d := c.Check("bob", "api"); d.Allowed || d.Reason != events.NoDecision {
		t.Errorf("beyond its age: %+v", d)
	}
}

func TestSwitchAndRemovalOfAGate(t *testing.T) {
	t.Parallel()
	c, m := inMemory(t, nil, apiGate(100))
	give(t, m, events.DecisionKey("bob", "api"), blocked("bob", time.Now().Add(time.Hour)))
	off := apiGate(100)
	off.Off = true
	give(t, m, events.GatesKey, events.Gates{Partitions: partitions, Gates: []events.Gate{off}})
	if d := c.Check("bob", "api"); !d.Allowed || d.Reason != events.GateOff {
		t.Errorf("off: %+v", d)
	}
	give(t, m, events.GatesKey, events.Gates{Partitions: partitions})
	if d := c.Check("bob", "api"); !d.Allowed || d.Reason != events.NoDecision {
		t.Errorf("removed: %+v", d)
	}
	give(t, m, events.GatesKey, events.Gates{Partitions: partitions, Gates: []events.Gate{apiGate(100)}})
	if d := c.Check("bob", "api"); d.Allowed {
		t.Errorf("back again: %+v", d)
	}
}
