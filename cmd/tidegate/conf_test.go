package main

import (
	"encoding/json"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/plan"
)

func TestWhoAConfigurationWouldBlock(t *testing.T) {
	limit := func(n int64) plan.Limit { return plan.Limit{Value: events.Count(n)} }
	c := plan.Catalog{Plans: []plan.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}}, Gates: []plan.Gate{
		{Feature: "api", Limits: map[string]plan.Limit{"free": limit(50), "pro": {Unlimited: true}}},
		{Feature: "gone", Limits: map[string]plan.Limit{"free": {None: true}}},
		{Feature: "quiet", Shadow: true, Limits: map[string]plan.Limit{"free": limit(1)}},
	}}
	usage := func(plan, feature string, used int64, now string) string {
		b, _ := json.Marshal(map[string]any{"customer": "acme", "plan": plan, "usage": []any{
			map[string]any{"feature": feature, "used": used, "limit": json.RawMessage(now)}}})
		return string(b)
	}
	for name, c2 := range map[string]struct {
		view string
		want int
	}{
		"over the new limit":    {usage("free", "api", 60, "100"), 1},
		"at the new limit":      {usage("free", "api", 50, "null"), 1},
		"below it":              {usage("free", "api", 49, "100"), 0},
		"blocked already":       {usage("free", "api", 100, "100"), 0},
		"plan without a limit":  {usage("pro", "api", 60, "null"), 0},
		"no longer in the plan": {usage("free", "gone", 0, "100"), 1},
		"shadow blocks nobody":  {usage("free", "quiet", 60, "100"), 0},
		"gate removed":          {usage("free", "old", 60, "100"), 0},
	} {
		var v customerView
		if err := json.Unmarshal([]byte(c2.view), &v); err != nil {
			t.Fatal(err)
		}
		if got := v.blockedBy(&c); len(got) != c2.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
