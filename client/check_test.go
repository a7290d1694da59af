package client

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// TestRecordKeepsTheDecision: the cache keeps all of a decision.
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
