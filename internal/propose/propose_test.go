package propose

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/config"
)

func parsed(t *testing.T, p *Proposal, err error) *config.Config {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// triggers lists gates as "feature method endpoint".
func triggers(c *config.Config) []string {
	var out []string
	for _, g := range c.Gates {
		out = append(out, g.Feature+" "+g.Triggers[0].Method+" "+g.Triggers[0].Endpoint)
	}
	return out
}

func TestOpenAPIGroupsRoutesByPrefix(t *testing.T) {
	p, err := OpenAPI(testdata(t, "openapi.json"))
	c := parsed(t, p, err)
	want := []string{
		"features POST /api/features/*", "projects PATCH /api/v1/projects/*", "generate POST /generate",
		"reports POST /reports/*", "reports_put PUT /reports/*",
	}
	if got := triggers(c); !slices.Equal(got, want) {
		t.Errorf("gates %q, want %q", got, want)
	}
	if want := []string{"POST /auth/login (signing in)", "POST /stripe/webhook (paying)"}; !slices.Equal(p.LeftOut, want) {
		t.Errorf("left out %q, want %q", p.LeftOut, want)
	}
	text, _ := p.YAML()
	for _, want := range []string{"# POST /reports/{id}/share", "#   POST /auth/login"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not say %q", want)
		}
	}
}

func TestOpenAPIInYAML(t *testing.T) {
	p, err := OpenAPI([]byte("openapi: 3.1.0\npaths:\n  /things/${x}:\n    post: {summary: 'Costs $5'}\n"))
	if got := triggers(parsed(t, p, err)); !slices.Equal(got, []string{"things POST /things/*"}) {
		t.Error(got)
	}
}

func TestOpenAPIRefusals(t *testing.T) {
	for document, want := range map[string]string{
		"<html>":       "neither",
		`{"paths":{}}`: "FastAPI serves it at /openapi.json",
		`{"openapi":"3.1.0","paths":{"/a":{"get":{}}}}`:      "no POST, PUT or PATCH",
		`{"openapi":"3.1.0","paths":{"/login":{"post":{}}}}`: "no POST, PUT or PATCH",
		`[1`: "no OpenAPI document",
	} {
		if _, err := OpenAPI([]byte(document)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", document, err, want)
		}
	}
}

func TestLoopGivesTheSameGate(t *testing.T) {
	p, err := Loop(testdata(t, "skene.config.ts"))
	c := parsed(t, p, err)
	got, want := c.Gates[0], config.Example().Gates[0]
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("gate\n%+v, want that of the example\n%+v", got, want)
	}
	if len(p.Notes) != 3 || !strings.HasPrefix(p.Notes[0], "line 20: a ' inside") || !strings.Contains(p.Notes[2], "`recovery.fallback`") {
		t.Errorf("notes %q", p.Notes)
	}
}

func TestLoopReads(t *testing.T) {
	for condition, want := range map[string]string{
		"limit: 5, period: 'monthly'":                                      "map[free:5 paid:unlimited] month",
		"limits: {free: 1_000, team: null, paid: Infinity,}, period: '7d'": "map[free:1000 paid:unlimited team:unlimited] 7d",
		"limit: {trial: 3, pro: 'unlimited'} as const, period: `30 days`":  "map[pro:unlimited trial:3] 30d",
		"limit: {free: 2, /* c */ paid: Number.POSITIVE_INFINITY} // so":   "map[free:2 paid:unlimited] 30d",
	} {
		p, err := Loop([]byte("x\ndefineLoop<Gate>({feature: 'f', condition: {type: \"usage\", " + condition + "\n}})"))
		c := parsed(t, p, err)
		limits := map[string]string{}
		for _, plan := range c.Plans {
			limits[plan.Name] = c.Gates[0].LimitOf(plan.Name).String()
		}
		if got := fmt.Sprint(limits, " ", c.Gates[0].Window.Period()); strings.ReplaceAll(got, "  ", " ") != want {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

func TestLoopRefusals(t *testing.T) {
	for source, want := range map[string]string{
		"export default {}":                                          "no defineLoop",
		"defineLoop(loop)":                                           "line 1: loop is not a value",
		"\ndefineLoop({trigger: {}})":                                "line 2: the loop has no `condition`",
		"defineLoop({condition: {period: '30d'}})":                   "no `limit`",
		"defineLoop({condition: {limit: LIMIT}})":                    "LIMIT is not a value",
		"defineLoop({condition: {limit: {free: 'many'}}})":           `not "many"`,
		"defineLoop({condition: {type: 'time', limit: 1}})":          `type "time"`,
		"defineLoop({a: 'never closed\n})":                           "line 1: the string is not closed",
		"defineLoop({a: 1 b: 2})":                                    `before "b"`,
		"defineLoop({a: 1":                                           "ends before its }",
		"defineLoop({...rest})":                                      "`...rest` is not written out",
		"defineLoop({steps: []})":                                    "no steps",
		"defineLoop({steps: STEPS})":                                 "the steps, STEPS, are not written out",
		"import {defineLoop} from 'x'\nfunction defineLoop(loop) {}": "no defineLoop",
		"/* defineLoop({}) */ 'defineLoop({})'":                      "no defineLoop",
		"defineLoop({condition: {limit: {}}})":                       "no `limit`",
		"defineLoop({condition: {limit: 60 * 60}})":                  "60 * 60 is not a value",
		"defineLoop({condition: {limit: 1, period: DAY}})":           "DAY is not a value",
		"defineLoop({condition: {limit: -5}})":                       `not "-5"`,
		"const a = {x: b, y: b}\nconst b = {x: a, y: a}\ndefineLoop({condition: {limit: a}})": "a is not a value",
		"// defineLoop({})": "no defineLoop",
		"defineLoop({feature: 'a', condition: {limit: 1, period: '5 fortnights'}})": `line 1: condition.period: period "5 fortnights" is none of`,
	} {
		p, err := Loop([]byte(source))
		if err == nil {
			_, err = p.YAML()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

func TestTextsSurvive(t *testing.T) {
	for _, message := range []string{"50% off: pay $9 #now", `"quoted" \ back`, "true", "- a", "ünïcode 🙂", "{a: b}", "null"} {
		p := &Proposal{Plans: freemium, Gates: []Gate{{Feature: "f", Message: message}}}
		if got := parsed(t, p, nil).Gates[0].Message; got != message {
			t.Errorf("%q was read back as %q", message, got)
		}
	}
}

func FuzzLoop(f *testing.F) {
	for _, name := range []string{"skene.config.ts", "published.config.ts"} {
		f.Add(string(testdata(f, name)))
	}
	f.Add("defineLoop({a: ['x', {b: -1}], condition: {limit: 3, period: 'day'}, feature: \"q\"})")
	f.Add("const A = {b: 1e3}, C = `${A.b} ${C}`\nexport default defineConfig({loops: {x: {steps: [[{trigger: 'PUT /a/:b/**', condition: {limit: A}}]]}}})")
	f.Add("export default {steps: [{condition: {limit: [{plan: 'p', limit: 0x10}], period: {days: 3}}, action: ['email', f()], get a() {}, ...b}]} as const")
	f.Add("module.exports = { condition: {limit: 1n}, trigger: [{path: ['/a', b]}], action: {message: 'a\\u{1F600}\\ud83d\\ude00' + \"'s\", upgradePrompt: true}}")
	f.Fuzz(func(t *testing.T, source string) { valid(Loop([]byte(source))) })
}

func FuzzOpenAPI(f *testing.F) {
	f.Add(string(testdata(f, "openapi.json")))
	f.Add(`{"openapi":"3","paths":{"/{a}":{"post":{}},"//x y?":{"put":{"summary":"\n"}}}}`)
	f.Fuzz(func(t *testing.T, document string) { valid(OpenAPI([]byte(document))) })
}

// valid must not panic; YAML checks by itself that what it returns is valid.
func valid(p *Proposal, err error) {
	if err == nil {
		_, _ = p.YAML()
	}
}
