package propose

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// loops are what a file says of growth loops.
type loops struct {
	objects []*node // of each defineLoop({…}) or item of `loops`
	configs []*node // of defineConfig({…}), without the loops
	notes   []remark
}

// parseLoops finds the loops of a file: the argument of every defineLoop call,
// and the items of `loops` in what is exported or given to defineConfig.
func parseLoops(src string) (*loops, error) {
	p := newLiteral(src)
	found, known := &loops{}, map[int]bool{}
	var roots []int
	var failed error
	p.words(func(before, name string, at int) {
		switch {
		case failed != nil:
		case name == "defineLoop" && before != "function":
			var n *node
			if n, failed = p.argument(); n != nil && !known[n.pos] {
				known[n.pos] = true
				found.objects = append(found.objects, n)
			}
		case name == "defineConfig" && before != "function":
			roots = append(roots, at)
		case name == "default" && before == "export", name == "exports" && exported.MatchString(p.src[p.pos:]):
			roots = append(roots, p.pos+len(exported.FindString(p.src[p.pos:])))
		}
	})
	for _, at := range roots {
		if failed == nil {
			p.pos = at
			failed = p.root(found, known)
		}
	}
	if failed != nil {
		return nil, failed
	}
	if len(found.objects) == 0 {
		return nil, errors.New("there is no defineLoop({…}) in this file")
	}
	found.notes = p.notes
	return found, nil
}

var exported = regexp.MustCompile(`^\s*=\s*`)

// argument reads the loop in the brackets of defineLoop(…). It returns nil where
// the name is not called, as in an import.
func (p *literal) argument() (*node, error) {
	opened := open.FindString(p.rest())
	if opened == "" {
		return nil, nil
	}
	p.pos += len(opened)
	n, err := p.value(0, ')')
	switch {
	case err != nil:
		return nil, err
	case n.computed:
		return nil, n.notRun()
	case n.fields == nil:
		return nil, fmt.Errorf("line %d: defineLoop needs an object, {…}, written out here", n.line)
	}
	return n, nil
}

// root reads what a file exports: a configuration with loops, or a loop.
func (p *literal) root(found *loops, known map[int]bool) error {
	if c := p.next(); c == '}' || c == ',' {
		return nil // export { default } from another file
	}
	n, err := p.value(0, 0)
	if err != nil {
		return err
	}
	if n.fields == nil || known[n.pos] {
		return nil
	}
	known[n.pos] = true
	list := n.take("loops", "growth_loops")
	if list == nil {
		if n.has("condition", "steps") {
			found.objects = append(found.objects, n)
		}
		return nil
	}
	found.configs = append(found.configs, n)
	for _, o := range entries(list) {
		switch {
		case known[o.pos]:
		case o.fields == nil:
			p.notes = append(p.notes, remark{o.line, "the loop " + o.shown() + " is not written out in this file and is left out"})
		default:
			known[o.pos] = true
			found.objects = append(found.objects, o)
		}
	}
	return nil
}

// entries returns loops or steps that are given as a list, or as an object of
// which each field is one and gives it its name.
func entries(n *node) []*node {
	if n == nil || n.fields == nil {
		return n.list()
	}
	var all []*node
	for _, key := range n.order {
		for _, o := range n.fields[key].list() {
			if o.fields != nil && !o.has("id", "name") {
				o.set("id", &node{line: o.line, text: key, quoted: true})
			}
			all = append(all, o)
		}
	}
	return all
}

// words calls visit for each word that is neither in a comment nor in a string,
// with the word before it. visit may move p.pos on.
func (p *literal) words(visit func(before, name string, at int)) {
	before := ""
	for p.pos = 0; p.pos < len(p.src); {
		if p.blankOrString() {
			continue
		}
		name := key.FindString(p.src[p.pos:])
		if name == "" {
			p.pos++
			continue
		}
		at := p.pos
		p.pos += len(name)
		visit(before, name, at)
		before = name
	}
}

// blankOrString skips blanks, a comment, a string or a regular expression, and
// reports whether there was one. A quote that is not closed in its line is
// skipped alone, so that one apostrophe too many costs no more than its line.
func (p *literal) blankOrString() bool {
	rest := p.src[p.pos:]
	if n := blanks(rest); n > 0 {
		p.pos += n
		return true
	}
	switch quote := rest[0]; {
	case quote == '/' && p.mayBeExpression():
		p.pos += max(1, len(expression.FindString(rest)))
	case quote == '\'' || quote == '"' || quote == '`':
		p.pos += max(1, quotedLength(rest))
	default:
		return false
	}
	return true
}

// quotedLength returns the length of the string that s begins with, 0 if it is
// not closed.
func quotedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == s[0]:
			return i + 1
		case c == '\n' && s[0] != '`':
			return 0
		}
	}
	return 0
}

// expression is a regular expression of JavaScript.
var expression = regexp.MustCompile(`^/(\\.|\[(\\.|[^\]\n\\])*\]|[^/\n\\\[])+/`)

// mayBeExpression reports whether a / here can begin a regular expression: after
// a value it divides.
func (p *literal) mayBeExpression() bool {
	before := strings.TrimRight(p.src[:p.pos], " \t\r\n")
	return before == "" || strings.HasSuffix(before, "return") || strings.IndexByte("(,=:[!&|?{};>", before[len(before)-1]) >= 0
}
