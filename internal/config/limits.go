package config

import (
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"

	"go.yaml.in/yaml/v3"
)

const wantLimit = "a number, unlimited, or none (not in this plan)"

// limits reads the limit of each plan. A paid plan without a limit is unlimited. Any
// other plan must have one, so that a forgotten plan is not unlimited.
func limits(f field, m gate.Meter, plans []Plan) map[string]gate.Limit {
	if !f.given() || f.null() {
		f.fail("is missing: give a limit for each plan, such as {free: 100, paid: unlimited}")
		return nil
	}
	o := f.object(openLimits)
	if f.node.Kind != yaml.MappingNode {
		return nil
	}
	ls := make(map[string]gate.Limit, len(plans))
	known := make([]string, len(plans))
	for i := range plans {
		known[i] = plans[i].Name
		if _, named := o.fields[known[i]]; !named && !plans[i].Paid() {
			f.fail("the plan %s is not named: only paid plans are unlimited by themselves; give it %s", quote(known[i]), wantLimit)
		}
	}
	for _, name := range o.names {
		at := o.get(name)
		if plans != nil && !slices.Contains(known, name) {
			at.fail("%s", unknownPlan(name, known))
		}
		if l, ok := at.limit(m); ok {
			ls[name] = l
		}
	}
	return ls
}

func unknownPlan(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return "no such plan: did you mean " + quote(best) + "?"
	}
	if len(known) == 0 {
		return "no such plan"
	}
	return "no such plan: plans has " + clipList(known)
}

func clipList(words []string) string {
	if len(words) > 12 {
		return strings.Join(words[:12], ", ") + ", …"
	}
	return strings.Join(words, ", ")
}

func (f field) limit(m gate.Meter) (gate.Limit, bool) {
	v, quoted, ok := f.scalar(wantLimit)
	if !ok {
		return gate.Limit{}, false
	}
	switch v {
	case "unlimited":
		return gate.Limit{Unlimited: true}, true
	case "none":
		return gate.Limit{None: true}, true
	}
	if quoted {
		f.fail("%s is text: a limit is a number without quotes, unlimited, or none", quote(v))
		return gate.Limit{}, false
	}
	switch v {
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF":
		return gate.Limit{Unlimited: true}, true
	}
	value, problem := number(v, m)
	if problem != "" {
		f.fail("%s %s", quote(v), problem)
		return gate.Limit{}, false
	}
	return gate.Limit{Value: value}, true
}

// number reads a limit's decimal number exactly. Digits may be grouped, as in 10_000.
func number(v string, m gate.Meter) (events.Value, string) {
	digits := v
	if v != "" && v[0] != '_' && v[len(v)-1] != '_' {
		digits = strings.ReplaceAll(v, "_", "")
	}
	if strings.HasPrefix(digits, ".") {
		digits = "0" + digits // YAML's .5
	}
	n, err := events.ParseValue(digits)
	switch {
	case strings.HasPrefix(v, "-"):
		return n, "must not be negative: a limit is " + wantLimit
	case strings.EqualFold(v, ".nan"):
		return n, "is not a number: a limit is " + wantLimit
	case len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9':
		return n, "begins with 0: write it without, as YAML takes such a number as octal"
	case err != nil:
		if word := nearest(v, []string{"unlimited", "none"}); word != "" {
			return n, "is no limit: did you mean " + word + "?"
		}
		return n, "is no limit: it must be " + wantLimit + "; numbers have at most 9 decimal places and lie below 9.2e18"
	case n.Nanos != 0 && m.Aggregate.Whole():
		return n, "has a fraction, but " + string(m.Aggregate) + " counts whole uses: only sum and max have fractions"
	case m.Aggregate == gate.Unique && n.Cmp(events.Count(int64(m.Cap))) > 0 && m.Cap > 0:
		return n, "is above the meter's cap of " + events.Count(int64(m.Cap)).String() + " different values: it could never be reached; raise meter.cap"
	}
	return n, ""
}
