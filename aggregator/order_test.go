package aggregator

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// TestAnOlderControlEventThatComesLaterSetsNothing: a publish that failed and
// was repeated may stand in the stream behind a newer one.
func TestAnOlderControlEventThatComesLaterSetsNothing(t *testing.T) {
	b := startPartition(t)
	b.run(t, b.env.JS)
	e := events.Event{ID: "1", Type: "api", Subject: "acme"}
	b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	send := func(typ, id string, data any) {
		c, err := records.Control(typ, "acme", id, data)
		if err != nil {
			t.Fatal(err)
		}
		b.publish(t, "usage.p.0.~control", c)
	}
	limit := func(n int64) *gate.Override { v := events.Count(n); return &gate.Override{Limit: &v} }
	send(records.ControlPlan, "account/8/plan", records.PlanControl{Plan: "free", From: time.Now(), Position: 8})
	send(records.ControlPlan, "account/7/plan", records.PlanControl{Plan: "paid", From: time.Now(), Position: 7})
	send(records.ControlOverride, "account/6/o", records.OverrideControl{Feature: "api", Override: limit(60), Position: 6})
	send(records.ControlOverride, "account/5/o", records.OverrideControl{Feature: "api", Override: limit(50), Position: 5})
	for _, w := range b.windows(t, "acme") {
		if w.Plan != "free" || w.Limit != events.Some(events.Count(60)) {
			t.Errorf("plan %s, limit %s", w.Plan, w.Limit)
		}
	}
}
