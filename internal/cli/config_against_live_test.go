package cli

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

func TestWhoAConfigurationWouldBlock(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	limit := func(n int64) gate.Limit { return gate.Limit{Value: events.Count(n)} }
	at := func(d time.Duration) *time.Time { m := now.Add(d); return &m }
	newGate := func(feature string, free gate.Limit) gate.Gate {
		return gate.Gate{Feature: feature, Limits: map[string]gate.Limit{"free": free, "pro": {Unlimited: true}}}
	}
	shadow, later, since := newGate("shadow", limit(1)), newGate("later", limit(1)), newGate("since", limit(1))
	shadow.Shadow, later.EnforceFrom, since.EnforceFrom = true, at(time.Hour), at(-time.Hour)
	small := newGate("small", limit(50))
	small.Limits["pro"] = limit(10)
	c := gate.Catalog{Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}}, Gates: []gate.Gate{
		newGate("api", limit(50)), newGate("gone", gate.Limit{None: true}), newGate("zero", limit(0)), shadow, later, since, small}}
	for name, c2 := range map[string]struct {
		plan, feature string
		decision      string // the running one, besides the feature; "": there is no gate now
		override      string
		want          string // the new limit of who is named, or ""
	}{
		"over the new limit":        {"free", "api", `"allowed":true,"used":60,"limit":100`, "", "50"},
		"at the new limit":          {"free", "api", `"allowed":true,"used":50,"limit":null`, "", "50"},
		"below it":                  {"free", "api", `"allowed":true,"used":49,"limit":100`, "", ""},
		"blocked already":           {"free", "api", `"allowed":false,"used":100,"limit":100`, "", ""},
		"not in the plan already":   {"free", "gone", `"allowed":false,"reason":"not_in_plan","used":0,"limit":0`, "", ""},
		"allowed by shadow":         {"free", "api", `"allowed":true,"reason":"shadow","would_block":true,"used":100,"limit":100`, "", "50"},
		"shadow, below it":          {"free", "api", `"allowed":true,"reason":"within_limit","used":9,"limit":10`, "", ""},
		"plan without a limit":      {"pro", "api", `"allowed":true,"used":60,"limit":null`, "", ""},
		"a plan that gets a limit":  {"pro", "small", `"allowed":true,"used":10,"limit":null`, "", "10"},
		"a plan that is not there":  {"gold", "api", `"allowed":true,"used":60,"limit":null`, "", ""},
		"another default plan":      {"trial", "api", `"allowed":true,"used":60,"limit":null`, "", "50"},
		"no longer in the plan":     {"free", "gone", `"allowed":true,"used":7,"limit":100`, "", "none"},
		"never used, none":          {"free", "gone", `"allowed":true,"used":0,"limit":100`, "", "none"},
		"never used, limit of 0":    {"free", "zero", `"allowed":true,"used":0,"limit":100`, "", "0"},
		"a new gate, none":          {"free", "gone", "", "", "none"},
		"a new gate, a limit":       {"free", "api", "", "", ""},
		"shadow blocks nobody":      {"free", "shadow", `"allowed":true,"used":60,"limit":100`, "", ""},
		"not enforced yet":          {"free", "later", `"allowed":true,"used":60,"limit":100`, "", ""},
		"enforced since":            {"free", "since", `"allowed":true,"reason":"shadow","would_block":true,"used":60,"limit":1`, "", "1"},
		"gate removed":              {"free", "old", `"allowed":true,"used":60,"limit":100`, "", ""},
		"gate switched off":         {"free", "api", `"allowed":true,"reason":"gate_off","used":60,"limit":50`, "", ""},
		"override allows":           {"free", "api", `"allowed":true,"reason":"override","used":60,"limit":500`, `{"limit":500}`, ""},
		"override, not in the plan": {"free", "gone", `"allowed":true,"reason":"override","used":60,"limit":500`, `{"limit":500}`, ""},
		"override ended":            {"free", "api", `"allowed":true,"used":60,"limit":100`, `{"limit":500,"until":"2026-01-31T11:00:00Z"}`, "50"},
		"grant is enough":           {"free", "api", `"allowed":true,"used":60,"limit":120`, `{"grant":20}`, ""},
		"grant is not enough":       {"free", "api", `"allowed":true,"used":60,"limit":105`, `{"grant":5}`, "55"},
		"grant of an older window": {"free", "api", `"allowed":true,"used":60,"limit":100,"window_start":"2026-01-30T00:00:00Z","window_end":"2026-02-28T00:00:00Z"`,
			`{"grant":20,"at":"2026-01-01T00:00:00Z"}`, "50"},
	} {
		text := `{"customer":"acme","plan":"` + c2.plan + `","decisions":[`
		if c2.decision != "" {
			text += `{"feature":"` + c2.feature + `",` + c2.decision + `}`
		}
		text += `],"overrides":{`
		if c2.override != "" {
			text += `"` + c2.feature + `":` + c2.override
		}
		var v customerView
		if err := json.Unmarshal([]byte(text+"}}"), &v); err != nil {
			t.Fatal(name, err)
		}
		live := "free"
		if c2.plan == "trial" {
			live = "trial"
		}
		got := v.blockedBy(&c, live, now)
		got = slices.DeleteFunc(got, func(b newlyBlocked) bool { return b.Feature != c2.feature })
		if c2.want == "" && len(got) > 0 || c2.want != "" && (len(got) != 1 || got[0].NewLimit != c2.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
