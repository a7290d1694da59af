package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"

	"go.yaml.in/yaml/v3"
)

// gates reads the list of gates. The key is required, if need be with an empty list:
// a file that is cut off must not unblock everyone.
func (d *decoder) gates(f field, plans []Plan) []Gate {
	if !f.given() || f.null() {
		f.fail("is missing: list what is gated, or write gates: [] for nothing")
		return nil
	}
	items := f.list()
	gs := make([]Gate, 0, len(items))
	seen := map[string]field{}
	for _, item := range items {
		o := item.object("gates[]")
		g, period := readGate(o, plans)
		if at := o.get("feature"); g.Feature != "" {
			if first, twice := seen[g.Feature]; twice {
				at.fail("%s is gated already by %s in line %d: a feature has one gate", quote(g.Feature), first.path, first.line)
			} else {
				seen[g.Feature] = field{path: item.path, line: at.line}
			}
		}
		if l := longest(g.Window); l > d.longest {
			d.longest, d.longestAt = l, period
		}
		gs = append(gs, g)
	}
	return gs
}

// readGate reads a gate. It also returns the gate's period, for checks across gates.
func readGate(o object, plans []Plan) (Gate, field) {
	var g Gate
	feature := o.get("feature")
	if !feature.given() {
		feature.fail("is missing: name what is gated, such as api")
	}
	g.Feature, _ = feature.name("the name of a feature", gate.MaxName)
	g.Opinion, _ = o.get("opinion").text("text")
	triggers(&g, o.get("trigger"))
	g.Meter = meter(o.get("meter").object("gates[].meter"), g.Feature)
	period := condition(&g, o.get("condition"), plans)
	action(&g, o.get("action").object("gates[].action"))
	recovery := o.get("recovery").object("gates[].recovery").get("retries")
	if v, quoted, ok := recovery.scalar("0"); ok && (v != "0" || quoted) {
		recovery.fail("must be 0, not %s: blocking is never retried or delayed, and mail has its own retries", quote(v))
	}
	g.FailClosed = o.get("fail").oneOf("open", "closed") == "closed"
	g.EnforceFrom = o.get("enforce_from").moment()
	g.EmailFrom = emailFrom(o.get("email_from"))
	return g, period
}

func meter(o object, feature string) gate.Meter {
	m := gate.Meter{Event: feature}
	event := o.get("event")
	if v, ok := event.name("the type of a usage event", events.MaxIDBytes); ok {
		if m.Event = v; strings.HasPrefix(v, events.ControlPrefix) {
			event.fail("%s: names that begin with %s are Tidegate's own", quote(v), events.ControlPrefix)
		}
	} else if !event.given() && strings.HasPrefix(feature, events.ControlPrefix) {
		event.fail("is missing: the event would be called %s like the feature, but such names are Tidegate's own", quote(feature))
	}
	aggregate, known := o.get("aggregate").choice(string(gate.Count), string(gate.Sum), string(gate.Max), string(gate.Unique))
	m.Aggregate = gate.Aggregate(aggregate)
	value := o.get("value")
	switch {
	case !known: // the other checks depend on it
	case m.Aggregate == gate.Count && value.given():
		value.fail("count takes no value, it counts events: remove it, or set aggregate to sum, max or unique")
	case m.Aggregate != gate.Count && !value.given():
		value.fail("is missing: %s needs to know which part of an event's data, such as $.tokens", m.Aggregate)
	}
	m.Value = value.dataPath()
	if c := o.get("cap"); m.Aggregate == gate.Unique {
		if m.Cap = gate.DefaultUniqueCap; c.given() {
			m.Cap = c.integer(1, gate.MaxUniqueCap)
		}
	} else if c.given() && known {
		c.fail("only unique has a cap, not %s: remove it", m.Aggregate)
	}
	return m
}

// dataPath reads $.a.b and returns a.b.
func (f field) dataPath() string {
	v, ok := f.name("a path into an event's data, such as $.tokens", 256)
	if !ok {
		return ""
	}
	path, dollar := strings.CutPrefix(v, "$.")
	if !dollar || slices.Contains(strings.Split(path, "."), "") || strings.ContainsAny(path, "[]*$\"' ") {
		f.fail("%s is not a path: write $. and names with dots between them, such as $.tokens or $.usage.total", quote(v))
		return ""
	}
	return path
}

func condition(g *Gate, f field, plans []Plan) (period field) {
	o := f.object("gates[].condition")
	if !f.given() || f.null() {
		f.fail("is missing: it says how much is allowed, such as {limit: {free: 100, paid: unlimited}, period: 30d}")
		return field{}
	}
	o.get("type").oneOf("usage")
	g.Limits = limits(o.get("limit"), g.Meter, plans)
	g.WarnAt = percents(o.get("warn_at"))
	period = o.get("period")
	g.Window = spec(period, o.get("window"))
	return period
}

const wantPeriod = "month, day, or a number of days such as 30d"

// spec reads period and window. It reports a wrong period at the period, and a window
// that does not fit a right period at the window.
func spec(period, kind field) gate.WindowSpec {
	k := ""
	if kind.given() {
		w, known := kind.choice(string(gate.Anniversary), string(gate.Rolling), string(gate.Calendar))
		if known {
			k = w
		}
	}
	if !period.given() {
		period.fail("is missing: give %s", wantPeriod)
		return gate.WindowSpec{}
	}
	v, _, ok := period.scalar(wantPeriod)
	if !ok {
		return gate.WindowSpec{}
	}
	if _, err := gate.ParseWindow(v, ""); err != nil {
		period.fail("%v", err)
		return gate.WindowSpec{}
	}
	s, err := gate.ParseWindow(v, k)
	if err != nil {
		kind.fail("%v", err)
	}
	return s
}

func percents(f field) []int {
	var ps []int
	for _, item := range f.list() {
		v, _, ok := item.scalar("a percentage such as 80%")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSuffix(v, "%"))
		switch {
		case err != nil || !strings.HasSuffix(v, "%") || n < 1 || n > 99 || strconv.Itoa(n)+"%" != v:
			item.fail("%s must be a whole percentage from 1%% to 99%%, such as 80%%", quote(v))
		case slices.Contains(ps, n):
			item.fail("%s stands twice", v)
		default:
			ps = append(ps, n)
		}
	}
	slices.Sort(ps)
	return ps
}

func action(g *Gate, o object) {
	g.Shadow = o.get("type").oneOf("block", "shadow") == "shadow"
	g.Message = DefaultMessage
	message := o.get("message")
	if v, ok := message.text("text"); ok {
		switch g.Message = v; {
		case v == "":
			message.fail("must not be empty: leave the key out for the built-in message")
		case len(v) > 1000:
			message.fail("has %d bytes, at most 1000 are allowed", len(v))
		}
	}
	f := o.get("upgrade_prompt")
	p := f.object("gates[].action.upgrade_prompt")
	p.get("type").oneOf("email")
	p.get("provider").oneOf("resend")
	template := p.get("template")
	name, ok := template.name("the name of a mail template", maxNamespace)
	if ok && !wordOf(name) {
		template.fail("%s is not the name of a template: letters, digits, _ and -, without a folder or ending", quote(name))
	}
	if f.given() && !f.null() {
		if g.Template = DefaultTemplate; ok {
			g.Template = name
		}
	}
	warnings := p.get("warnings")
	if g.Warnings = warnings.boolean(); g.Warnings && len(g.WarnAt) == 0 {
		warnings.fail("needs levels to warn at: give condition.warn_at, such as [80%%]")
	}
}

func emailFrom(f field) *EmailFrom {
	if !f.given() || f.null() {
		return nil
	}
	o := f.object("gates[].email_from")
	part := func(key, what string) string {
		at := o.get(key)
		if !at.given() && f.node.Kind == yaml.MappingNode {
			at.fail("is missing: %s", what)
		}
		v, _ := at.name(what, 255)
		return v
	}
	e := &EmailFrom{
		Collection: part("collection", "the MongoDB collection that holds your customers"),
		Key:        part("key", "the field that holds the customer's id"),
		Field:      part("field", "the field that holds the mail address"),
	}
	database := o.get("database")
	if v, ok := database.name("the name of a database", 63); ok {
		if e.Database = v; strings.ContainsAny(v, `/\. "$`) {
			database.fail("%s is not the name of a MongoDB database", quote(v))
		}
	}
	return e
}
