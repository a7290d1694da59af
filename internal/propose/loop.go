package propose

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Loop reads the growth loops of a TypeScript file, defineLoop({…}), and
// proposes their gates. Values must stand there themselves: nothing is run.
func Loop(source []byte) (*Proposal, error) {
	objects, notes, err := parseLoops(string(source))
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 {
		return nil, errors.New("there is no defineLoop({…}) in this file")
	}
	p := &Proposal{Notes: notes}
	for _, o := range objects {
		g, err := p.loop(o)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(p.Gates, func(other Gate) bool { return other.Feature == g.Feature }) {
			return nil, fmt.Errorf("line %d: two loops limit %q: give each a `feature`", o.line, g.Feature)
		}
		p.Gates = append(p.Gates, g)
	}
	if !slices.ContainsFunc(p.Plans, func(plan Plan) bool { return plan.Default }) && len(p.Plans) > 0 {
		p.Plans[0].Default = true
		p.note(objects[0].line, "no plan is called free: %s is taken for the default one", p.Plans[0].Name)
	}
	if len(p.Plans) == 0 {
		p.Plans = freemium
	}
	p.complete()
	return p, nil
}

// complete gives every gate a limit for every plan, for an unnamed one of the
// default plan would be an error.
func (p *Proposal) complete() {
	for i := range p.Gates {
		g := &p.Gates[i]
		for _, plan := range p.Plans {
			if len(g.Limits) > 0 && !slices.ContainsFunc(g.Limits, func(l Limit) bool { return l.Plan == plan.Name }) {
				g.Limits = append(g.Limits, Limit{plan.Name, "unlimited"})
			}
		}
	}
}

func (p *Proposal) note(line int, format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
}

func (p *Proposal) loop(o *node) (Gate, error) {
	var g Gate
	trigger, condition, action := o.take("trigger"), o.take("condition"), o.take("action")
	if condition == nil {
		return g, fmt.Errorf("line %d: the loop has no `condition`, so there is no limit to enforce", o.line)
	}
	id := cmp.Or(o.take("feature").string(), o.take("event").string())
	g.Opinion = cmp.Or(o.take("opinion").string(), o.take("description").string())
	if name := cmp.Or(o.take("name").string(), o.take("id").string()); name != "" {
		g.Comments = []string{name}
	}
	g.Endpoint, g.Method = trigger.take("endpoint", "path", "route").string(), strings.ToUpper(trigger.take("method").string())
	kind := trigger.take("type").string()
	if kind != "" && kind != "api" {
		p.note(trigger.line, "a trigger of type %s is none of Tidegate's: usage is counted by the event", kind)
	}
	g.Feature = noLetter.ReplaceAllString(cmp.Or(id, kind, strings.Trim(groupOf(route{path: g.Endpoint}).name, "_")), "_")
	if err := p.condition(&g, condition); err != nil {
		return g, err
	}
	p.action(&g, action)
	recovery := o.take("recovery")
	if n := recovery.take("retries"); n != nil && n.text != "0" {
		p.note(n.line, "retries %s becomes 0: blocking is never retried or delayed, and mail has its own retries", n.text)
	}
	for _, rest := range []*node{trigger, condition, action, recovery, o} {
		for _, key := range rest.keys() {
			p.note(rest.fields[key].line, "`%s` has no counterpart here and is left out", key)
		}
	}
	return g, nil
}

var periods = map[string]string{"monthly": "month", "daily": "day", "30": "30d", "30days": "30d", "1month": "month", "1d": "day", "24h": "day"}

func (p *Proposal) condition(g *Gate, o *node) error {
	if kind := o.take("type"); kind != nil && kind.text != "usage" {
		return fmt.Errorf("line %d: a condition of type %q can't be enforced, only usage", kind.line, kind.text)
	}
	period := strings.ToLower(strings.ReplaceAll(o.take("period", "window_length").string(), " ", ""))
	g.Period, g.Window = cmp.Or(periods[period], period), o.take("window").string()
	limit := o.take("limit", "limits")
	switch {
	case limit == nil:
		return fmt.Errorf("line %d: the condition has no `limit`", o.line)
	case limit.fields == nil:
		p.plan("free")
		p.plan("paid")
		g.Limits = []Limit{{"free", limit.limit()}, {"paid", "unlimited"}}
		return limit.mustBeLimit()
	}
	for _, name := range slices.Clone(limit.keys()) {
		l := limit.fields[name]
		if err := l.mustBeLimit(); err != nil {
			return err
		}
		p.plan(name)
		g.Limits = append(g.Limits, Limit{name, l.limit()})
	}
	return nil
}

func (p *Proposal) plan(name string) {
	if !slices.ContainsFunc(p.Plans, func(plan Plan) bool { return plan.Name == name }) {
		p.Plans = append(p.Plans, Plan{Name: name, Default: name == "free"})
	}
}

func (p *Proposal) action(g *Gate, o *node) {
	if kind := o.take("type").string(); kind == "shadow" {
		g.Shadow = true
	} else if kind != "" && kind != "block" {
		p.note(o.line, "an action of type %s is taken for block", kind)
	}
	g.Message = o.take("message").string()
	prompt := o.take("upgrade_prompt", "prompt")
	if prompt == nil {
		return
	}
	g.Template = noLetter.ReplaceAllString(cmp.Or(prompt.take("template").string(), "upgrade_prompt"), "_")
	if kind := prompt.take("type").string(); kind != "" && kind != "email" {
		p.note(prompt.line, "an upgrade prompt of type %s becomes a mail", kind)
	}
	if provider := prompt.take("provider").string(); provider != "" && provider != "resend" {
		p.note(prompt.line, "mail goes through Resend, not %s", provider)
	}
}
