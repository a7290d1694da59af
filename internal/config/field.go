package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// field is a place in the file: a value or an absent one, and the path that names it
// in problems.
type field struct {
	d    *decoder
	node *yaml.Node // without aliases; nil when the key is absent
	line int        // of the value, or of the mapping that lacks it
	path string
}

func (f field) given() bool { return f.node != nil }

// fail notes a problem of the field. What a variable stands for may be secret, so the
// problem shows the value as it is in the file.
func (f field) fail(format string, args ...any) {
	problem := fmt.Sprintf(format, args...)
	if f.node != nil && f.node.Kind == yaml.ScalarNode {
		if value, changed, err := expand(f.node.Value, f.d.env); changed && err == nil {
			for _, shown := range [...]string{quote(value), strconv.Quote(value)} {
				problem = strings.ReplaceAll(problem, shown, quote(f.node.Value))
			}
		}
	}
	f.d.fail(f.line, f.path, problem)
}

// null reports whether the value is empty, as in "mail:" without a value.
func (f field) null() bool {
	return f.node != nil && f.node.Kind == yaml.ScalarNode && f.node.ShortTag() == "!!null"
}

// object is a mapping with its keys.
type object struct {
	field
	names  []string // in the order of the file
	fields map[string]field
}

// get returns the field of a key, which may be absent.
func (o object) get(key string) field {
	if f, ok := o.fields[key]; ok {
		return f
	}
	return field{d: o.d, line: o.line, path: join(o.path, key)}
}

// object reads a mapping of a shape. An empty value is an empty mapping, as when all
// lines of a section are commented out.
func (f field) object(shape string) object {
	o := object{field: f, fields: map[string]field{}}
	if !f.given() || f.null() {
		return o
	}
	if f.node.Kind != yaml.MappingNode {
		f.fail("must be a mapping of keys to values, not %s", kind(f.node))
		return o
	}
	if !f.afford(len(f.node.Content) / 2) {
		return o
	}
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		o.add(shape, f.node.Content[i], f.node.Content[i+1])
	}
	return o
}

func (o *object) add(shape string, k, v *yaml.Node) {
	line, key := k.Line, resolve(k)
	if key.Kind != yaml.ScalarNode {
		o.d.fail(line, o.path, "a key must be a name, not "+kind(key))
		return
	}
	name := key.Value
	path := join(o.path, name)
	if was, ok := o.fields[name]; ok {
		o.d.fail(line, path, fmt.Sprintf("stands twice: it was already given in line %d", was.line))
		return
	}
	if name == "<<" || !isOpen(shape) && !slices.Contains(keys[shape], name) {
		o.d.fail(line, path, unknownKey(shape, name))
		return
	}
	o.names = append(o.names, name)
	o.d.lines[path] = line
	// A scalar or flow value is in the key's line. For a block, the key's line is
	// also the better place to show.
	o.fields[name] = field{d: o.d, node: resolve(v), line: line, path: path}
}

// list reads the items of a list. An empty value is an empty list.
func (f field) list() []field {
	if !f.given() || f.null() {
		return nil
	}
	if f.node.Kind != yaml.SequenceNode {
		f.fail("must be a list, such as [a, b], not %s", kind(f.node))
		return nil
	}
	if !f.afford(len(f.node.Content)) {
		return nil
	}
	items := make([]field, len(f.node.Content))
	for i, n := range f.node.Content {
		items[i] = field{d: f.d, node: resolve(n), line: n.Line, path: f.path + "[" + strconv.Itoa(i) + "]"}
	}
	return items
}

// afford counts keys and items. Above maxKeys it reports one problem and returns
// false.
func (f field) afford(n int) bool {
	if f.d.keys > maxKeys {
		return false
	}
	if f.d.keys += n; f.d.keys > maxKeys {
		f.fail("the configuration has more than %d keys and items, aliases counted", maxKeys)
		return false
	}
	return true
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// kind describes a node in words.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!str":
		return "the text " + quote(n.Value)
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return clip(n.Value)
	case "!!null":
		return "empty"
	}
	return clip(n.Value)
}

func join(path, key string) string {
	if key == "" || len(key) > 64 || strings.ContainsFunc(key, func(r rune) bool {
		return r == '.' || r == '[' || r == ']' || r == ':' || !unicode.IsPrint(r) || unicode.IsSpace(r)
	}) {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func quote(s string) string { return strconv.Quote(clip(s)) }

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
