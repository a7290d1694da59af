package propose

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxSource bounds a file with growth loops.
const maxSource = 1 << 20

// Loop reads the growth loops of a TypeScript file, defineLoop({…}), and
// proposes a gate for each of their steps, or for the loop itself where the
// trigger and the condition stand in it. Nothing is run, so values must be
// written out in the file. The notes name each part that is left out.
func Loop(source []byte) (*Proposal, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the file is larger than %d MiB", maxSource>>20)
	}
	found, err := parseLoops(string(source))
	if err != nil {
		return nil, err
	}
	r := &reader{notes: found.notes}
	for _, o := range found.objects {
		if err := r.loop(o); err != nil {
			return nil, err
		}
	}
	for _, o := range found.configs {
		r.leftOver("", o)
	}
	if len(r.drafts) == 0 {
		return nil, errors.New("nothing here has a limit to enforce: " + strings.Join(notes(r.notes), "; "))
	}
	r.choosePlans()
	r.chooseNames()
	p := &Proposal{Plans: r.plans, Notes: notes(r.notes)}
	for _, d := range r.drafts {
		p.Gates = append(p.Gates, d.Gate)
	}
	return p, nil
}

// reader turns loops into gates.
type reader struct {
	plans  []Plan
	drafts []*draft
	notes  []remark
}

// draft is a gate that has no name yet.
type draft struct {
	Gate
	feature string // the name that the source gives the feature
	own     string // the step's name
	kind    string // the trigger's type
	loop    string // the loop's name
}

// line is where the gate begins.
func (d *draft) line() int { return d.lines[""] }

func (r *reader) note(line int, format string, args ...any) {
	r.notes = append(r.notes, remark{line, fmt.Sprintf(format, args...)})
}

// leftOver notes the fields that nothing was made of.
func (r *reader) leftOver(path string, o *node) {
	r.spreads(path, o)
	for _, key := range o.keys() {
		if !strings.HasPrefix(key, "...") {
			r.note(o.fields[key].line, "`%s` has no counterpart here and is left out", path+key)
		}
	}
}

// spreads notes each ...other whose fields the file does not show.
func (r *reader) spreads(path string, o *node) {
	for _, key := range o.keys() {
		if strings.HasPrefix(key, "...") {
			r.note(o.fields[key].line, "`%s` is not written out in this file and is left out", path+key)
		}
	}
}

// text takes a field that must be text, and notes one that is not.
func (r *reader) text(o *node, names ...string) string {
	f := o.take(names...)
	if f != nil && !f.scalar() {
		r.note(f.line, "`%s` is %s, not a text that is written out, and is left out", names[0], f.shown())
	}
	return f.string()
}

// about is what a loop says of all its steps.
type about struct {
	name, kind, opinion string
	trigger             *node
}

func (r *reader) loop(o *node) error {
	steps, alone := o.take("steps", "gates"), o.has("condition", "conditions")
	a := about{opinion: r.text(o, "opinion", "description")}
	name, id := r.text(o, "name", "title"), r.text(o, "id", "key")
	a.name, a.kind = cmp.Or(name, id), r.text(o, "type")
	if alone || steps == nil {
		if err := r.gate(o, a, "the loop"); err != nil {
			return err
		}
	} else {
		a.trigger = o.take("trigger")
		r.recovery(o)
		r.leftOver("", o)
	}
	if steps != nil && steps.computed {
		r.note(steps.line, "the steps, %s, are not written out in this file and are left out", steps.text)
		return nil
	}
	list := entries(steps)
	if steps != nil && len(list) == 0 {
		r.note(steps.line, "the loop has no steps, so there is no limit to enforce")
	}
	for i, s := range list {
		if err := r.step(s, a, i+1); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) step(s *node, a about, number int) error {
	if s.fields == nil {
		r.note(s.line, "step %d is %s, not an object that is written out, and is left out", number, s.shown())
		return nil
	}
	if !s.has("trigger", "triggers") && a.trigger != nil {
		s.set("trigger", a.trigger.clone())
	}
	return r.gate(s, a, fmt.Sprintf("step %d", number))
}

// gate reads a step, or a loop that is one, and notes if it is no gate.
func (r *reader) gate(o *node, a about, what string) error {
	d := &draft{loop: a.name}
	d.at("", o.line)
	if what != "the loop" {
		id, name := r.text(o, "id", "key"), r.text(o, "name", "title", "label")
		d.own = cmp.Or(id, name)
		d.Comments = append(d.Comments, name)
		what = strings.TrimSpace(what + " " + bracketed(d.own))
	}
	conditions, actions := o.take("condition", "conditions").list(), o.take("action", "actions").list()
	if len(conditions) == 0 {
		r.note(o.line, "%s has no `condition`, so there is no limit to enforce%s", what, onlyMails(actions))
		r.spreads("", o)
		return nil
	}
	d.Opinion = cmp.Or(r.text(o, "opinion", "description"), a.opinion)
	if a.name == "" {
		a.name, a.kind = a.kind, ""
	}
	d.Comments = slices.DeleteFunc(append([]string{strings.TrimSpace(a.name + " " + bracketed(a.kind))}, d.Comments...),
		func(s string) bool { return s == "" })
	d.feature, d.Event = r.text(o, "feature"), r.text(o, "event")
	r.trigger(d, o.take("trigger", "triggers").list())
	if enforced, err := r.conditions(d, conditions, what); err != nil || !enforced {
		return err
	}
	r.actions(d, actions)
	r.recovery(o)
	r.leftOver("", o)
	r.drafts = append(r.drafts, d)
	return nil
}

// bracketed returns a name as it follows another.
func bracketed(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// onlyMails says of a step without a condition what it does instead.
func onlyMails(actions []*node) string {
	for _, a := range actions {
		if kind := cmp.Or(a.string(), a.clone().take("type").string()); mails[kind] {
			return ": it only sends a mail, which Tidegate does when a limit is reached, and is left out"
		}
	}
	return ", and it is left out"
}

func (r *reader) recovery(o *node) {
	recovery := o.take("recovery")
	if recovery != nil && recovery.fields == nil {
		r.note(recovery.line, "`recovery` is %s, not an object, and is left out", recovery.shown())
		return
	}
	if n := recovery.take("retries"); n != nil && n.text != "0" {
		r.note(n.line, "retries %s becomes 0: blocking is never retried or delayed, and mail has its own retries", n.text)
	}
	r.leftOver("recovery.", recovery)
}
