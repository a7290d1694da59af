package propose

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// usage are the names of conditions that are a limit of use.
var usage = map[string]bool{"": true, "usage": true, "usage_limit": true, "limit": true, "quota": true, "count": true}

// conditions reads the limit of a gate. It returns false if there is none to
// enforce. A gate has one limit, so any further ones are noted.
func (r *reader) conditions(d *draft, list []*node, what string) (enforced bool, err error) {
	for _, o := range list {
		switch kind := o.clone().take("type").string(); {
		case o.fields == nil:
			r.note(o.line, "the condition of %s is %s, not an object that is written out, so there is no limit to enforce", what, o.shown())
		case !usage[snake(kind)]:
			r.note(o.line, "a condition of type %q can't be enforced, only usage: %s", kind, orLeftOut(what, enforced))
		case enforced:
			r.note(o.line, "a gate has one limit: the further condition of %s is left out", what)
		default:
			if err := r.condition(d, o); err != nil {
				return false, err
			}
			enforced = true
		}
	}
	return enforced, nil
}

func orLeftOut(what string, enforced bool) string {
	if enforced {
		return "it is left out"
	}
	return what + " is left out"
}

func (r *reader) condition(d *draft, o *node) error {
	o.take("type")
	d.feature = cmp.Or(d.feature, r.text(o, "feature", "resource"))
	d.Event = cmp.Or(d.Event, r.text(o, "event", "metric", "meter"))
	if err := r.window(d, o); err != nil {
		return err
	}
	limit := o.take("limit", "limits", "quota", "max", "threshold")
	if limit == nil {
		return fmt.Errorf("line %d: the condition has no `limit`%s", o.line, o.unseen())
	}
	if err := r.limits(d, limit); err != nil {
		return err
	}
	r.leftOver("condition.", o)
	return nil
}

// limits reads a limit for all who don't pay, or one for each plan: {free: 100}
// or [{plan: 'free', limit: 100}].
func (r *reader) limits(d *draft, limit *node) error {
	switch {
	case limit.items != nil:
		for _, item := range limit.list() {
			name, l := item.take("plan", "tier", "name", "id"), item.take("limit", "value", "max", "amount")
			if name.string() == "" || l == nil {
				return fmt.Errorf("line %d: each item of the limits needs a plan and a limit, such as {plan: 'free', limit: 100}", item.line)
			}
			if err := r.planLimit(d, snake(name.string()), l); err != nil {
				return err
			}
			r.leftOver("limit.", item)
		}
		if len(d.Limits) == 0 {
			return fmt.Errorf("line %d: the condition has no `limit`", limit.line)
		}
		return nil
	case limit.fields == nil:
		r.plan("free")
		r.plan("paid")
		d.Limits = []Limit{{"free", limit.limit()}, {"paid", "unlimited"}}
		d.at("condition.limit", limit.line)
		return limit.mustBeLimit()
	case len(limit.order) == 0:
		return fmt.Errorf("line %d: the condition has no `limit`", limit.line)
	}
	for _, name := range limit.keys() {
		if err := r.planLimit(d, name, limit.fields[name]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) planLimit(d *draft, name string, l *node) error {
	if err := l.mustBeLimit(); err != nil {
		return err
	}
	r.plan(name)
	d.Limits = slices.DeleteFunc(d.Limits, func(other Limit) bool { return other.Plan == name })
	d.Limits = append(d.Limits, Limit{name, l.limit()})
	d.at("condition.limit."+name, l.line)
	return nil
}

func (r *reader) plan(name string) {
	if !slices.ContainsFunc(r.plans, func(plan Plan) bool { return plan.Name == name }) {
		r.plans = append(r.plans, Plan{Name: name, Default: name == "free"})
	}
}

// choosePlans makes a plan the default, and gives every gate a limit for every
// plan: config.Parse refuses a gate without one for a plan that nobody pays for.
func (r *reader) choosePlans() {
	if !slices.ContainsFunc(r.plans, func(plan Plan) bool { return plan.Default }) {
		r.plans[0].Default = true
		r.note(r.drafts[0].line(), "no plan is called free: %s is taken for the default one", r.plans[0].Name)
	}
	for _, d := range r.drafts {
		for _, plan := range r.plans {
			if !slices.ContainsFunc(d.Limits, func(l Limit) bool { return l.Plan == plan.Name }) {
				d.Limits = append(d.Limits, Limit{plan.Name, "unlimited"})
				r.note(d.line(), "no limit is given for the plan %s: it becomes unlimited", plan.Name)
			}
		}
	}
}

// calendar are the words for parts of the calendar, with a note where Tidegate has
// no such windows.
var calendar = map[string]struct{ period, note string }{
	"month": {"month", ""}, "monthly": {"month", ""}, "permonth": {"month", ""}, "calendar_month": {"month", ""},
	"day": {"day", ""}, "daily": {"day", ""}, "perday": {"day", ""},
	"week": {"7d", weeks}, "weekly": {"7d", weeks}, "perweek": {"7d", weeks},
	"year": {"365d", years}, "yearly": {"365d", years}, "annual": {"365d", years}, "peryear": {"365d", years},
}

const (
	weeks = "there are no weeks of the calendar, so it becomes 7d"
	years = "there are no years of the calendar, so it becomes 365d"
)

// duration is a number of days and the like, in words or as ISO 8601 has it.
var duration = regexp.MustCompile(`^(?:pt?)?([1-9]\d{0,5})(?:(d|days?)|(h|hours?|hrs?)|(w|weeks?)|(mo|months?)|(y|years?))$`)

// window reads how long usage counts.
func (r *reader) window(d *draft, o *node) error {
	period := o.take("period", "window_length", "per", "interval", "reset")
	if period != nil && period.fields != nil && period.has("days") {
		days := period.take("days")
		r.leftOver("period.", period)
		period = &node{line: days.line, text: days.text + "d", computed: days.computed}
	}
	if w := o.fields["window"]; w != nil {
		d.at("condition.window", w.line)
	}
	d.Window = r.text(o, "window")
	if kind := strings.ToLower(d.Window); slices.Contains([]string{"anniversary", "rolling", "calendar"}, kind) {
		d.Window = kind
	} else if period == nil && d.Window != "" {
		period, d.Window = &node{line: d.lines["condition.window"], text: d.Window}, ""
	}
	switch {
	case period == nil:
		r.note(o.line, "no `period` is given: 30d is taken")
		return nil
	case period.computed:
		return period.notRun()
	case !period.scalar():
		return fmt.Errorf("line %d: a period is a text such as '30d', not %s", period.line, period.shown())
	}
	d.at("condition.period", period.line)
	if number.MatchString(period.text) {
		return fmt.Errorf("line %d: the period %s has no unit: write '%sd' if it is in days", period.line, period.text, period.text)
	}
	d.Period = r.period(period)
	return nil
}

// period returns a period as Tidegate has it, or as it stands there. A number of days
// is not the calendar's: its windows are anniversary or rolling.
func (r *reader) period(at *node) string {
	text := strings.ToLower(strings.ReplaceAll(at.text, " ", ""))
	if known, ok := calendar[text]; ok {
		if known.note != "" {
			r.note(at.line, "the period %s: %s", at.text, known.note)
		}
		return known.period
	}
	m := duration.FindStringSubmatch(text)
	if m == nil {
		return at.text
	}
	n, _ := strconv.Atoi(m[1]) // the expression lets only a few digits through
	switch {
	case m[2] != "":
		return m[1] + "d"
	case m[3] != "" && n%24 == 0:
		return strconv.Itoa(n/24) + "d"
	case m[4] != "":
		return strconv.Itoa(7*n) + "d"
	case m[5] != "" && n == 1:
		r.note(at.line, "the period %s becomes month, which is a month of the calendar", at.text)
		return "month"
	case m[6] != "":
		r.note(at.line, "the period %s becomes %dd", at.text, 365*n)
		return strconv.Itoa(365*n) + "d"
	}
	return at.text
}
