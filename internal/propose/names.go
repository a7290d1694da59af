package propose

import (
	"cmp"
	"fmt"
	"strings"
)

// chooseNames gives each gate a feature of its own: the one that the source
// names, or else the event, the step's name, or a name made of the endpoint. Two
// gates of one event keep it as their meter's.
func (r *reader) chooseNames() {
	taken := map[string]bool{}
	for _, d := range r.drafts { // names that are given come first
		if given := cmp.Or(d.feature, d.Event); given != "" {
			name := slug(given)
			d.Feature = free(taken, name)
			if d.Event == "" && d.Feature != name {
				d.Event = name
			}
			if d.Feature != name {
				r.note(d.line(), "%s has a gate already: this one is called %s and counts the same event, %s", name, d.Feature, d.Event)
			}
		}
	}
	for _, d := range r.drafts {
		if d.Feature == "" {
			d.Feature = free(taken, r.candidates(d)...)
		}
		if d.Event == d.Feature {
			d.Event = ""
		}
	}
}

// candidates lists names for a gate that the source does not name, the best first.
func (r *reader) candidates(d *draft) []string {
	names := []string{slug(strings.ToLower(d.own))}
	if len(r.drafts) == 1 || len(d.Triggers) == 0 {
		names = append(names, slug(d.kind))
	}
	if len(d.Triggers) > 0 {
		t := d.Triggers[0]
		group := groupOf(route{endpoint: t.Endpoint}).name
		names = append(names, group, slug(endOf(t.Endpoint, group)), slug(group+"_"+strings.ToLower(t.Method)))
	}
	return append(names, slug(strings.ToLower(d.loop)))
}

// endOf returns a path from the part that names its group.
func endOf(path, group string) string {
	if i := strings.Index(path, "/"+group); i >= 0 {
		path = path[i:]
	}
	return path
}

// maxName is the longest name of a feature, with room for a number.
const maxName = 120

// slug returns s as a feature is called: letters, digits, _ and -.
func slug(s string) string {
	s = strings.Trim(noLetter.ReplaceAllString(s, "_"), "_")
	return s[:min(len(s), maxName)]
}

// free returns the first of the names that is not taken, or else the first with
// a number, and takes it.
func free(taken map[string]bool, names ...string) string {
	best := ""
	for _, name := range names {
		if name != "" && !taken[name] {
			taken[name] = true
			return name
		}
		best = cmp.Or(best, name)
	}
	best = cmp.Or(best, "gate")
	name := best
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s_%d", best, n)
	}
	taken[name] = true
	return name
}
