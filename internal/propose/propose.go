// Package propose writes a first configuration from what an app already has:
// the routes in its OpenAPI document, or a growth loop in TypeScript. What it
// writes is valid; which of it is wanted is for its reader to say.
package propose

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// Proposal is what a configuration is written from.
type Proposal struct {
	Plans   []Plan
	Gates   []Gate
	LeftOut []string // routes that are better not gated, with the reasons
	Notes   []string // what was read otherwise than it stands there, with lines
}

// Plan is a plan of the proposal.
type Plan struct {
	Name    string
	Default bool
}

// Gate is a gate of the proposal. What is empty is left to the defaults.
type Gate struct {
	Feature, Opinion  string
	Event             string // what is counted, if it is not called as the feature
	Triggers          []Trigger
	Limits            []Limit // in the order of the plans; empty: 100 for the default one
	Period, Window    string
	Shadow            bool
	Message, Template string
	Comments          []string // above the gate

	lines map[string]int // of the source, by the field that is made of it; "": the gate
}

// at notes the line that a field of the gate is made of.
func (g *Gate) at(field string, line int) {
	if g.lines == nil {
		g.lines = map[string]int{}
	}
	g.lines[field] = line
}

// Trigger is what requests use the feature. No method is any.
type Trigger struct{ Endpoint, Method string }

// Limit is a plan's limit: a number, unlimited or none.
type Limit struct{ Plan, Value string }

var freemium = []Plan{{Name: "free", Default: true}, {Name: "paid"}}

// YAML is the configuration, which is valid: an error says what of the source
// can't be a configuration.
func (p *Proposal) YAML() (string, error) {
	head, _, _ := strings.Cut(config.ExampleYAML, "# Plans.")
	var b strings.Builder
	b.WriteString(head)
	b.WriteString(p.retention())
	b.WriteString("# Plans. One is the default: that of customers who don't pay.\nplans:\n")
	for _, plan := range p.Plans {
		b.WriteString("  " + plan.line() + "\n")
	}
	b.WriteString("\n# Gates. Each limits one feature.\ngates:\n")
	for i := range p.Gates {
		p.Gates[i].write(&b)
	}
	if len(p.LeftOut) > 0 {
		b.WriteString("\n# Left out, each for the reason behind it:\n")
		for _, s := range p.LeftOut {
			b.WriteString("#   " + comment(s) + "\n")
		}
	}
	if _, err := config.Parse([]byte(b.String()), nil); err != nil {
		return "", p.inSource(err)
	}
	return b.String(), nil
}

// retention keeps usage for as long as the longest window needs it.
func (p *Proposal) retention() string {
	var longest time.Duration
	for i := range p.Gates {
		if w, err := gate.ParseWindow(p.Gates[i].Period, ""); err == nil {
			longest = max(longest, w.Length())
		}
	}
	need := longest + config.DefaultHorizon
	if need <= config.DefaultUsage {
		return ""
	}
	return fmt.Sprintf("retention: {usage: %dd}       # the longest period, and how late an event may come\n\n", need/(24*time.Hour))
}

var gatePath = regexp.MustCompile(`^gates\[(\d+)\]\.?(.*)$`)

// inSource says of mistakes in the configuration, which nobody has seen, where in the
// source they come from.
func (p *Proposal) inSource(err error) error {
	var mistakes *config.Errors
	if !errors.As(err, &mistakes) {
		return err
	}
	var all []string
	for _, m := range mistakes.Problems {
		text := m.String()
		if at := gatePath.FindStringSubmatch(m.Field); at != nil {
			i, _ := strconv.Atoi(at[1]) // the expression lets only digits through
			text = p.Gates[i].place(at[2]) + strings.TrimPrefix(at[2]+": ", ": ") + m.Message
		}
		all = append(all, text)
	}
	return errors.New(strings.Join(all, "; "))
}

// place names the line that a field comes from, or else the gate.
func (g *Gate) place(field string) string {
	for at := field; ; at = at[:max(0, strings.LastIndexAny(at, ".["))] {
		if line, ok := g.lines[at]; ok {
			return fmt.Sprintf("line %d: ", line)
		}
		if at == "" {
			return "the gate " + g.Feature + ": "
		}
	}
}

func (p Plan) line() string {
	switch {
	case p.Default:
		return scalar(p.Name) + ": {default: true}"
	case p.Name == "paid":
		return "paid: {any_subscription: true}     # whoever pays, whatever the price"
	}
	return scalar(p.Name) + ": {}     # say what its customers pay: stripe: {lookup_keys: [" + comment(p.Name) + "_monthly]}"
}

// String returns the trigger as a configuration has it.
func (t Trigger) String() string {
	method := ""
	if t.Method != "" {
		method = ", method: " + t.Method
	}
	return "{type: api, endpoint: " + scalar(t.Endpoint) + method + "}"
}

func (g *Gate) write(b *strings.Builder) {
	for _, c := range g.Comments {
		b.WriteString("  # " + comment(c) + "\n")
	}
	line := func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
	line("  - feature: %s", scalar(g.Feature))
	if g.Opinion != "" {
		line("    opinion: %s", scalar(g.Opinion))
	}
	switch len(g.Triggers) {
	case 0:
	case 1:
		line("    trigger: %s", g.Triggers[0])
	default:
		line("    trigger:")
		for _, t := range g.Triggers {
			line("      - %s", t)
		}
	}
	if g.Event != "" {
		line("    meter: {event: %s}", scalar(g.Event))
	}
	line("    condition:\n      type: usage")
	if len(g.Limits) == 0 {
		line("      limit: {free: 100, paid: unlimited}   # a guess: choose, and try it with action: {type: shadow}")
	} else {
		limits := make([]string, len(g.Limits))
		for i, l := range g.Limits {
			limits[i] = scalar(l.Plan) + ": " + l.Value
		}
		line("      limit: {%s}", strings.Join(limits, ", "))
	}
	period := g.Period
	if period == "" {
		period = "30d"
	}
	line("      period: %s", scalar(period))
	if g.Window != "" {
		line("      window: %s", scalar(g.Window))
	}
	action := "block"
	if g.Shadow {
		action = "shadow"
	}
	line("    action:\n      type: %s", action)
	if g.Message != "" {
		line("      message: %s", scalar(g.Message))
	}
	if g.Template != "" {
		line("      upgrade_prompt: {type: email, provider: resend, template: %s}", scalar(g.Template))
	}
}

var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*[*]?$`)

// reserved are words that YAML takes for something else than text.
var reserved = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|null|y|n)$`)

// scalar is a text as YAML reads it back, after the variables are expanded.
func scalar(s string) string {
	if plain.MatchString(s) && !reserved.MatchString(s) || s == "30d" {
		return s
	}
	b, _ := json.Marshal(strings.ReplaceAll(s, "$", "$$")) // YAML takes JSON's strings
	return string(b)
}

// comment keeps a text within its line, and without what YAML refuses.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.Join(strings.Fields(s), " "))
}
