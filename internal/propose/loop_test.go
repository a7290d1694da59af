package propose

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/config"
)

func TestPublishedLoop(t *testing.T) {
	p, err := Loop(testdata(t, "published.config.ts"))
	c := parsed(t, p, err)
	if len(c.Gates) != 1 {
		t.Fatalf("%d gates", len(c.Gates))
	}
	if got, want := c.Gates[0], config.Example().Gates[0]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("gate\n%+v, want that of the example\n%+v", got, want)
	}
	if len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], "line 16: a ' inside") {
		t.Errorf("notes %q", p.Notes)
	}
}

func TestVariantsOfLoops(t *testing.T) {
	p, err := Loop(testdata(t, "variants.config.ts"))
	c := parsed(t, p, err)
	var got []string
	for _, g := range c.Gates {
		limits := ""
		for _, plan := range []string{"hobby", "team", "enterprise"} {
			limits += g.LimitOf(plan).String() + " "
		}
		got = append(got, fmt.Sprintf("%s of %s: %s, %s%s, %v, %q", g.Feature, g.Meter.Event, requests(g), limits, g.Window.Period(), g.Template != "", g.Message))
	}
	want := []string{
		`csv_export of csv_export: POST /api/v1/export/csv, 25 2500 unlimited month, true, "No exports left. It's time to upgrade."`,
		`pdf-export of pdf-export: POST /api/v1/export/{kind}/pdf, 5 1000 unlimited day, true, "25 PDFs are enough"`,
		`calls of calls: /api/calls/*, 1000 unlimited unlimited 7d, false, "That's it, you've used what your plan's limit was (1,000 'calls')."`,
		`calls_id of calls_id: PUT /api/calls/{id}, 10 unlimited unlimited 30d, false, "` + config.DefaultMessage + `"`,
		`llm_tokens of llm.tokens: , 50000 unlimited unlimited 30d, false, "` + config.DefaultMessage + `"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("gates\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	notes := strings.Join(p.Notes, "\n")
	for _, want := range []string{
		"line 30: step 3 (welcome) has no `condition`, so there is no limit to enforce: it only sends a mail",
		"line 28: the mail template pdf_limit is not built in",
		"line 26: the endpoint /api/v1/export/:kind/pdf is written as /api/v1/export/{kind}/pdf",
		"`telemetry` has no counterpart", "`action.on_block` has no counterpart",
		"the loop partnerLoop is not written out", "no plan is called free: hobby", "no `period` is given",
		"no limit is given for the plan enterprise",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
}

// requests lists a gate's triggers.
func requests(g config.Gate) string {
	var all []string
	for _, t := range g.Triggers {
		all = append(all, strings.TrimSpace(t.Method+" "+t.Endpoint))
	}
	return strings.Join(all, ", ")
}

// The message of a gate is what stands in the source, apostrophes included.
func TestMessagesAreWhole(t *testing.T) {
	for literal, want := range map[string]string{
		`'You've reached your limit'`:                      "You've reached your limit",
		`'You've seen the users', not yours'`:              "You've seen the users', not yours",
		`'The plan's 'free' tier, it's over: "pay"'`:       `The plan's 'free' tier, it's over: "pay"`,
		`'See https://acme.example/it's-over // now'`:      "See https://acme.example/it's-over // now",
		`'It\'s over\u0021 \x41\u{1F600}\ud83d\ude00'`:     "It's over! A😀😀",
		`"It's " + "over" + ' now'`:                        "It's over now",
		"`It's ${LIMIT} calls, \\`used\\` {up}`":           "It's 100 calls, `used` {up}",
		"`two\nlines`":                                     "two\nlines",
		`('It's over') as const`:                           "It's over",
		`'It's over' satisfies Message<'a' | "b", string>`: "It's over",
		`'It's over' /* so */ // and so`:                   "It's over",
		`MESSAGES.over`:                                    "It's gone",
		`'50% off, $9, #1 — ünï'`:                          "50% off, $9, #1 — ünï",
	} {
		for _, behind := range []string{"", ",", ", upgradePrompt: {}", ", 'type': \"block\"", ", ...REST", ", get retry() { return ''; }"} {
			p, err := Loop([]byte("const LIMIT = 100, REST = {};\nconst REST = {};\nconst MESSAGES = {\n over: \"It's gone\" };\n" +
				"defineLoop({ steps: [{ condition: { limit: LIMIT, period: 'day' }, action: { message: " + literal + behind + "\n } }] })"))
			if got := parsed(t, p, err).Gates[0].Message; got != want {
				t.Errorf("%s%s was read as %q, want %q", literal, behind, got, want)
			}
		}
	}
}

func TestTriggers(t *testing.T) {
	for trigger, want := range map[string]string{
		`'POST /api/features/*'`: "api POST /api/features/*",
		`'/reports'`:             "api /reports",
		`"post: /reports/:id"`:   "api POST /reports/{id}",
		`{type: 'api', endpoint: 'reports', method: 'put'}`: "api PUT /reports",
		`{path: 'https://api.acme.example/v2/reports?a=b'}`: "reports /v2/reports",
		`{endpoint: '/a/[id]/*/b/**', method: 'ANY'}`:       "a /a/{id}/*/b/*",
		`{type: 'event', event: 'report.made'}`:             "report_made of report.made",
		`'report.made'`:                                     "report_made of report.made",
		`{type: 'usage'}`:                                   "usage",
		`[{path: '/x', method: ['HEAD', 'POST']}, '/y']`:    "api GET /x, POST /x, /y",
		`{path: ['/x', '/y/'], methods: 'GET|OPTIONS'}`:     "x GET /x, GET /y/",
		`{path: '/x/{a}b', event: 'x'}`:                     "x",
		`{endpoint: route('x')}`:                            "gate",
	} {
		p, err := Loop([]byte("defineLoop({steps: [{trigger: " + trigger + ", condition: {limit: 1, period: '30d'}}]})"))
		g := parsed(t, p, err).Gates[0]
		got := strings.TrimRight(g.Feature+" "+requests(g), " ")
		if g.Meter.Event != g.Feature {
			got += " of " + g.Meter.Event
		}
		if got != want {
			t.Errorf("%s: %s, want %s", trigger, got, want)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	step := func(trigger, more string) string {
		return "{trigger: '" + trigger + "', condition: {limit: 1, period: '30d'}, action: 'block'" + more + "},"
	}
	p, err := Loop([]byte("defineLoop({id: 'first', steps: [" + step("POST /api/x", "") + step("PUT /api/x", "") + step("POST /api/x/y", "") +
		step("/api/x", "") + step("/api/x", "") + step("/z", ", name: 'Größe!'") + step("/z", ", feature: 'x'") + "]});" +
		"defineLoop({feature: 'x', condition: {limit: {free: 2}, period: 'day'}}); defineLoop({trigger: '/', name: '', condition: {limit: 2, period: 'day'}})"))
	var got []string
	for _, g := range parsed(t, p, err).Gates {
		got = append(got, g.Feature+":"+g.Meter.Event)
	}
	want := []string{"x_post:x_post", "x_put:x_put", "x_y:x_y", "first:first", "x_3:x_3", "gr_e:gr_e", "x:x", "x_2:x", "root:root"}
	if !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "x has a gate already: this one is called x_2 and counts the same event, x") {
		t.Errorf("notes %s", notes)
	}
}

func TestWhatIsLeftOutIsNamed(t *testing.T) {
	const good = "{condition: {limit: 1, period: '30d'}}"
	for source, want := range map[string]string{
		"steps: [" + good + ", {action: {type: 'email'}}]":                                            "step 2 has no `condition`, so there is no limit to enforce: it only sends a mail",
		"steps: [" + good + ", {name: 'Wait', action: {type: 'delay'}}]":                              "step 2 (Wait) has no `condition`, so there is no limit to enforce, and it is left out",
		"steps: [" + good + ", {condition: {type: 'time', after: '3d'}}]":                             `a condition of type "time" can't be enforced, only usage: step 2 is left out`,
		"steps: [" + good + ", {condition: 'plan === free'}]":                                         `the condition of step 2 is "plan === free", not an object`,
		"steps: [" + good + ", {condition: (c) => c.used > 100}]":                                     "the condition of step 2 is (c) => c.used > 100, not an object",
		"steps: [" + good + ", ...more, makeStep()]":                                                  "step 2 is more, not an object",
		"steps: [{condition: {limit: 1, period: 'day', warnAt: [80]}}]":                               "`condition.warn_at` has no counterpart",
		"steps: [{condition: {limit: 1, period: 'day'}, action: {message: f(1, '}')}}]":               "`message` is f(1, '}'), which is computed",
		"steps: [{condition: {limit: 1, period: 'day'}, action: {upgradePrompt: {cta: 'Go'}}}]":       "`upgrade_prompt.cta` has no counterpart",
		"steps: [{condition: {limit: 1, period: 'day'}, action: {type: 'sms'}}]":                      "an action of type sms is none of Tidegate's",
		"steps: [{condition: {limit: 1, period: 'day'}, action: {type: 'email'}}]":                    "written as a shadow",
		"steps: [{condition: {limit: 1, period: 'day'}, trigger: {endpoint: '/a', headers: {a: 1}}}]": "`trigger.headers` has no counterpart",
		"steps: [{condition: {limit: 1, period: 'day'}, recovery: {retries: 2, then: 'x'}}]":          "`recovery.then` has no counterpart",
		"steps: [" + good + "], recovery: {retries: 2}":                                               "retries 2 becomes 0",
		"steps: [" + good + "], 'audience': ['x']":                                                    "`audience` has no counterpart",
	} {
		p, err := Loop([]byte("defineLoop({" + source + "})"))
		if c := parsed(t, p, err); len(c.Gates) != 1 {
			t.Errorf("%s: %d gates", source, len(c.Gates))
		}
		if !strings.Contains(strings.Join(p.Notes, "\n"), want) {
			t.Errorf("%s: notes %q, want %q", source, p.Notes, want)
		}
	}
}

// Loops may stand in what a file exports, by name or in a list, without a call.
func TestExportedLoops(t *testing.T) {
	const steps = "{steps: [{trigger: '/x', condition: {limit: 3, period: 'day'}}]}"
	for _, source := range []string{
		"export default " + steps,
		"module.exports = {loops: [" + steps + "]}",
		"export default {\r\n  loops: {\r\n    'x': " + steps + " as const,\r\n  },\r\n};\r\n",
		"const loop: Loop<A, B> = " + steps + " satisfies Loop;\nexport default loop;",
		"const loop = {...base, ..." + steps + "}\nconst base = {name: 'base'}\nexport default defineConfig({loops: [loop]})",
		"const config = growth.defineConfig({loops: [Object.freeze(" + steps + ")]}); export { config as default }; export { default } from './x'",
		"const x = 4 / 2, y = /['`\"]/g, z = a / b; const loop = defineLoop(" + steps + "); export default {loops: [loop]}",
		"import type {A} from 'a'; // don't\ndefineLoop<A>(" + steps + ", {strict: true})",
		"defineLoop(\n/* the first */ (" + steps + ")!,\n)",
	} {
		p, err := Loop([]byte(source))
		if c := parsed(t, p, err); len(c.Gates) != 1 || requests(c.Gates[0]) != "/x" || c.Gates[0].LimitOf("free").String() != "3" {
			t.Errorf("%s: gates %+v", source, c.Gates)
		}
	}
}
