package propose

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// node is a value of a TypeScript literal: an object (fields), a list (items),
// a scalar (text), or an expression that is not evaluated (computed, with its
// source as text). A nil node is a value that is absent.
type node struct {
	pos, line int
	text      string
	quoted    bool
	computed  bool
	fields    map[string]*node // by key in snake_case
	order     []string
	items     []*node
}

func (n *node) set(key string, v *node) {
	if n.fields[key] == nil {
		n.order = append(n.order, key)
	}
	n.fields[key] = v
}

// take returns the first of the fields that is present, and removes it, so that
// only those remain which have no counterpart.
func (n *node) take(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		if f := n.fields[name]; f != nil {
			delete(n.fields, name)
			n.order = slices.DeleteFunc(n.order, func(s string) bool { return s == name })
			return f
		}
	}
	return nil
}

func (n *node) has(names ...string) bool {
	return n != nil && slices.ContainsFunc(names, func(name string) bool { return n.fields[name] != nil })
}

func (n *node) keys() []string {
	if n == nil {
		return nil
	}
	return slices.Clone(n.order)
}

// scalar reports whether n is text, a number or a word such as true.
func (n *node) scalar() bool {
	return n != nil && !n.computed && n.fields == nil && n.items == nil
}

// string returns a scalar's text. null, and what is not a scalar, is empty.
func (n *node) string() string {
	if !n.scalar() || n.text == "null" && !n.quoted {
		return ""
	}
	return n.text
}

// list returns the items of a list, those of lists in it included. Any other
// value is a list of itself.
func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	if n.items == nil {
		return []*node{n}
	}
	var all []*node
	for _, item := range n.items {
		all = append(all, item.list()...)
	}
	return all
}

// clone returns a copy whose fields can be taken without changing n's.
func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := *n
	if n.fields != nil {
		c.fields, c.order = make(map[string]*node, len(n.fields)), slices.Clone(n.order)
		for key, f := range n.fields {
			c.fields[key] = f.clone()
		}
	}
	if n.items != nil {
		c.items = make([]*node, len(n.items))
		for i, item := range n.items {
			c.items[i] = item.clone()
		}
	}
	return &c
}

// limit returns what the node says as a limit: unlimited, none or a number.
func (n *node) limit() string {
	switch strings.ToLower(n.text) {
	case "infinity", "number.positive_infinity", "unlimited", "number.max_safe_integer", "null", "-1":
		return "unlimited"
	}
	return strings.ReplaceAll(n.text, "_", "")
}

var number = regexp.MustCompile(`^\d+(\.\d+)?$`)

// mustBeLimit returns an error unless the node can stand as a limit.
func (n *node) mustBeLimit() error {
	if n.computed {
		return n.notRun()
	}
	if l := n.limit(); !n.scalar() || l != "unlimited" && l != "none" && !number.MatchString(l) {
		return fmt.Errorf("line %d: a limit is a number or Infinity, not %s", n.line, n.shown())
	}
	return nil
}

// notRun is the error of a value that would have to be computed.
func (n *node) notRun() error {
	return fmt.Errorf("line %d: %s is not a value: nothing is run, so write the value itself, or a `const` of it in this file", n.line, n.text)
}

// unseen says of an object which of its fields the file does not show.
func (n *node) unseen() string {
	for _, key := range n.keys() {
		if strings.HasPrefix(key, "...") {
			return ": `" + key + "` is not written out in this file, so write its fields here"
		}
	}
	return ""
}

// shown returns the node as a message names it.
func (n *node) shown() string {
	switch {
	case n.fields != nil:
		return "an object"
	case n.items != nil:
		return "a list"
	case n.computed:
		return n.text
	}
	return strconv.Quote(n.text)
}

// remark is a note about a line of the source.
type remark struct {
	line int
	text string
}

// notes returns remarks as they are shown: by line, each once.
func notes(remarks []remark) []string {
	slices.SortStableFunc(remarks, func(a, b remark) int { return a.line - b.line })
	var all []string
	for _, m := range remarks {
		if n := fmt.Sprintf("line %d: %s", m.line, m.text); !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

var hump = regexp.MustCompile(`([a-z0-9])([A-Z])`)

func snake(s string) string { return strings.ToLower(hump.ReplaceAllString(s, "${1}_$2")) }
