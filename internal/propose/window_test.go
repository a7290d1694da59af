package propose

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A number of days is no day of the calendar.
func TestPeriodsKeepTheirKind(t *testing.T) {
	for condition, want := range map[string]string{
		"period: '1d'":                            "1d anniversary",
		"period: '24h'":                           "1d anniversary",
		"period: '48 hours'":                      "2d anniversary",
		"period: '1 day'":                         "1d anniversary",
		"period: '1d', window: 'rolling'":         "1d rolling",
		"period: '24h', window: 'Rolling'":        "1d rolling",
		"window: '30 days'":                       "30d anniversary",
		"period: 'P1D'":                           "1d anniversary",
		"period: {days: 3}, window: 'rolling'":    "3d rolling",
		"period: 'day'":                           "day calendar",
		"period: 'daily'":                         "day calendar",
		"period: 'monthly', window: 'calendar'":   "month calendar",
		"period: '2 weeks'":                       "14d anniversary",
		"period: 'week'":                          "7d anniversary: there are no weeks of the calendar, so it becomes 7d",
		"period: 'yearly'":                        "365d anniversary: there are no years of the calendar, so it becomes 365d",
		"period: '1 month'":                       "month calendar: the period 1 month becomes month, which is a month of the calendar",
		"period: '1 year'":                        "365d anniversary: the period 1 year becomes 365d",
		"period: 30":                              "error: line 2: the period 30 has no unit: write '30d' if it is in days",
		"period: '7'":                             "error: line 2: the period 7 has no unit",
		"window: 30":                              "error: line 2: the period 30 has no unit",
		"period: 'day', window: 'rolling'":        "error: line 2: condition.window: a period of \"day\" is of the calendar",
		"period: '7d',\n window: 'sliding'":       "error: line 3: condition.window: \"sliding\"",
		"period: '12h'":                           "error: line 2: condition.period: period \"12h\" is none of",
		"period: '30d',\n limit: {free: 1.5}":     "error: line 3: condition.limit.free: \"1.5\" has a fraction",
		"period: '5 months'":                      "error: line 2: condition.period: period \"5 months\"",
		"period: '999999999999999999999999 days'": "error: line 2: condition.period",
	} {
		p, err := Loop([]byte("defineLoop({feature: 'f', condition: {limit: 1,\n " + condition + "}})"))
		var got string
		if err == nil {
			_, err = p.YAML()
		}
		if err != nil {
			got = "error: " + err.Error()
		} else {
			w := parsed(t, p, nil).Gates[0].Window
			got = fmt.Sprint(w.Period(), " ", w.Kind, ": ", p.Notes)
		}
		if _, note, noted := strings.Cut(want, ": "); err == nil && !noted && len(p.Notes) > 0 {
			t.Errorf("%s: notes %q", condition, p.Notes)
		} else if err == nil && noted {
			if !strings.HasPrefix(got, strings.SplitN(want, ":", 2)[0]) || !strings.Contains(got, note) {
				t.Errorf("%s: %s, want %s", condition, got, want)
			}
		} else if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

func TestMistakesAreInTheSource(t *testing.T) {
	source := "defineLoop({steps: [\n {feature: 'a', condition: {limit: {free: 1.5}, period: '30d'}},\n" +
		" {feature: 'b',\n condition: {limit: {'fr ee': 1}, period: '12h'}}]})"
	p, err := Loop([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.YAML()
	if err == nil || strings.Contains(err.Error(), "tidegate.yaml") || strings.Contains(err.Error(), "gates[") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"line 2: condition.limit.free: ", "line 4: condition.period: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestConstants(t *testing.T) {
	for source, want := range map[string]string{
		"let A = 5; A = 10":                      "line 2: A is not a value",
		"var A = 5":                              "line 2: A is not a value",
		"const A = 5":                            "5",
		"const B = {a: [1, 2]}, /* two */ A = 5": "5",
		"const B = 7, C = f(1, 2),\n  // three\n  A: number = 5":                    "5",
		"const B = 7\n  , A = 5":                                                    "5",
		"const B = 7\nlet C = 1, A = 5; A = 6":                                      "A is not a value",
		"const B = 7; for (let C = 1, A = 5; ;) {}":                                 "A is not a value",
		"function f() { const A = 1 }\nconst A = 5":                                 "A is not a value",
		"const B = () => { const C = 1; return C }, A = 5":                          "5",
		"export const A = 5 as const":                                               "5",
		"const L = {free: 3}, A = L.free":                                           "3",
		"const L = {free: 3}; L.free = 10; const A = L.free":                        "A is not a value",
		"const L = {free: 3}; L['free'] += 1\nconst A = L.free":                     "A is not a value",
		"const L = {free: 3}; if (L.free == 3 || L.free >= 4) {}; const A = L.free": "3",
	} {
		p, err := Loop([]byte(strings.ReplaceAll(source, "\n", " \r\n") + "\n" + "defineLoop({feature: 'f', condition: {limit: {free: A}, period: '30d'}})"))
		got := fmt.Sprint(err)
		if err == nil {
			got = parsed(t, p, err).Gates[0].LimitOf("free").String()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
	p, err := Loop([]byte("const A = 7, B = {free: A, paid: Infinity};\ndefineLoop({feature: 'f', condition: {limit: B, period: '30d'}})"))
	if g := parsed(t, p, err).Gates[0]; g.LimitOf("free").String() != "7" || g.LimitOf("paid").String() != "unlimited" {
		t.Errorf("limits %v", g.Limits)
	}
}

func TestLargeFiles(t *testing.T) {
	for _, part := range []string{"a.", "a[", "const a=[", "const a = 1, ", "'"} {
		began := time.Now()
		_, err := Loop([]byte(strings.Repeat(part, maxSource/len(part))))
		if took := time.Since(began); err == nil || took > 20*time.Second {
			t.Errorf("%q took %s: %v", part, took, err)
		}
	}
}

func TestASpreadThatIsNotSeenIsNamed(t *testing.T) {
	for _, source := range []string{"condition: {...cond}", "condition: {period: '30d', ...cond}", "condition: {period: '30d', limit: {...cond}}", "...cond"} {
		p, err := Loop([]byte("import {cond} from './c'\ndefineLoop({feature: 'f', " + source + "})"))
		if err == nil || !strings.Contains(err.Error(), "line 2: ") || !strings.Contains(err.Error(), "cond") {
			t.Errorf("%s: %v, %+v", source, err, p)
		}
	}
	p, err := Loop([]byte("import {cond} from './c'\ndefineLoop({feature: 'f', condition: {limit: 3, ...cond}})"))
	parsed(t, p, err)
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "`condition....cond`") }) {
		t.Errorf("notes %q", p.Notes)
	}
}
