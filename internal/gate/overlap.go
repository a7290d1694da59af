package gate

import (
	"strings"

	"github.com/tidegate-io/tidegate/events"
)

// Overlap is a pair of gates whose triggers some request fits both.
type Overlap struct {
	Decides, Other int            // indexes of the gates
	By, Over       events.Trigger // their triggers
	Same           bool           // equally specific: the earlier gate decides
}

// Overlaps returns the pairs of triggers of different gates that fit a common
// request, and which one decides.
func Overlaps(gates []events.Gate) []Overlap {
	type one struct {
		route
		said events.Trigger
	}
	var all []one
	for i := range gates {
		for _, t := range gates[i].Triggers {
			if r, err := newRoute(t); err == nil {
				r.gate = i
				all = append(all, one{r, t})
			}
		}
	}
	var found []Overlap
	for i := range all {
		for j := range all[:i] {
			a, b := &all[j], &all[i] // a is the earlier one
			if a.gate == b.gate || a.method != "" && b.method != "" && a.method != b.method || !a.meets(&b.pattern) {
				continue
			}
			c := a.compare(&b.route)
			o := Overlap{Decides: a.gate, Other: b.gate, By: a.said, Over: b.said, Same: c == 0}
			if c > 0 {
				o = Overlap{Decides: b.gate, Other: a.gate, By: b.said, Over: a.said}
			}
			found = append(found, o)
		}
	}
	return found
}

// meets reports whether some path fits both patterns.
func (p *pattern) meets(o *pattern) bool {
	same := func(a, b string) bool { return a == b }
	if p.fold || o.fold {
		same = strings.EqualFold
	}
	n := min(len(p.segments), len(o.segments))
	for i := range n {
		if a, b := p.segments[i], o.segments[i]; a != "" && b != "" && !same(a, b) {
			return false
		}
	}
	switch {
	case len(p.segments) == len(o.segments):
		switch {
		case !p.prefix && !o.prefix:
			return true
		case !p.prefix:
			return o.begin == ""
		case !o.prefix:
			return p.begin == ""
		}
		short, long := p.begin, o.begin
		if len(short) > len(long) {
			short, long = long, short
		}
		return same(short, long[:len(short)])
	case len(p.segments) > n:
		return o.prefix && o.begins(p.segments[n], same)
	}
	return p.prefix && p.begins(o.segments[n], same)
}

// begins reports whether a segment of another pattern can be the next one of a
// prefix.
func (p *pattern) begins(segment string, same func(a, b string) bool) bool {
	return segment == "" || len(segment) >= len(p.begin) && same(segment[:len(p.begin)], p.begin)
}
