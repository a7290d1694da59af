package propose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// node is a value of a TypeScript literal: an object (fields), a list (items) or
// a scalar (text). A nil node is one that is not there.
type node struct {
	line   int
	text   string
	quoted bool
	fields map[string]*node // by key in snake_case
	order  []string
	items  []*node
}

// take returns the first of the fields that is there, and removes it, so that
// what remains in the end has not been understood.
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

func (n *node) keys() []string {
	if n == nil {
		return nil
	}
	return n.order
}

func (n *node) string() string {
	if n == nil || n.text == "null" && !n.quoted {
		return ""
	}
	return n.text
}

func (n *node) limit() string {
	switch strings.ToLower(n.text) {
	case "infinity", "number.positive_infinity", "unlimited", "number.max_safe_integer", "null", "-1":
		return "unlimited"
	}
	return strings.ReplaceAll(n.text, "_", "")
}

var number = regexp.MustCompile(`^\d+(\.\d+)?$`)

func (n *node) mustBeLimit() error {
	if l := n.limit(); n.fields != nil || n.items != nil || l != "unlimited" && l != "none" && !number.MatchString(l) {
		return fmt.Errorf("line %d: a limit is a number or Infinity, not %q", n.line, n.text)
	}
	return nil
}

var loopCall = regexp.MustCompile(`\bdefineLoop\s*(<[^<>()]*>)?\s*\(\s*`)

// parseLoops reads the argument of every defineLoop call.
func parseLoops(src string) (loops []*node, notes []string, err error) {
	p := &literal{src: src}
	for _, at := range loopCall.FindAllStringIndex(src, -1) {
		if line := src[strings.LastIndexByte(src[:at[0]], '\n')+1 : at[0]]; strings.Contains(line, "//") {
			continue
		}
		p.pos = at[1]
		n, err := p.value(0)
		if err != nil {
			return nil, nil, err
		}
		if n.fields == nil {
			return nil, nil, fmt.Errorf("line %d: defineLoop needs an object, {…}, written out here", n.line)
		}
		loops = append(loops, n)
	}
	return loops, p.notes, nil
}

// literal reads object literals of TypeScript: comments, any kind of quotes,
// trailing commas, `as const`.
type literal struct {
	src   string
	pos   int
	notes []string
}

func (p *literal) line() int { return 1 + strings.Count(p.src[:min(p.pos, len(p.src))], "\n") }

func (p *literal) fail(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.line(), fmt.Sprintf(format, args...))
}

var blank = regexp.MustCompile(`^(\s+|//[^\n]*|/\*(?s:.*?)\*/)+`)

func (p *literal) rest() string {
	p.pos += len(blank.FindString(p.src[p.pos:]))
	return p.src[p.pos:]
}

// next is the next byte that is not blank, 0 at the end.
func (p *literal) next() byte {
	if rest := p.rest(); rest != "" {
		return rest[0]
	}
	return 0
}

const maxDepth = 32

var (
	word = regexp.MustCompile(`^-?[A-Za-z0-9_$][A-Za-z0-9_$.]*`)
	cast = regexp.MustCompile(`^(as|satisfies)\s+[A-Za-z_$][\w$.<>\[\]]*`)
)

func (p *literal) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, p.fail("objects are nested too deeply")
	}
	c := p.next()
	n := &node{line: p.line()}
	var err error
	switch c {
	case '{':
		err = p.object(n, depth)
	case '[':
		err = p.list(n, depth)
	case '\'', '"', '`':
		n.quoted = true
		n.text, err = p.text(c)
	default:
		if n.text = word.FindString(p.rest()); n.text == "" {
			return nil, p.fail("a value is expected here")
		}
		p.pos += len(n.text)
		if known := n.limit(); known == "unlimited" || number.MatchString(known) || n.text == "true" || n.text == "false" {
			break
		}
		if n.text == "undefined" {
			n.text = "null"
			break
		}
		return nil, p.fail("%s is not a value: nothing is run, so write the value itself", n.text)
	}
	if err == nil {
		p.pos += len(cast.FindString(p.rest()))
	}
	return n, err
}

func (p *literal) object(n *node, depth int) error {
	n.fields = map[string]*node{}
	for p.pos++; p.next() != '}'; {
		var key string
		var err error
		if c := p.next(); c == '\'' || c == '"' {
			key, err = p.text(c)
		} else {
			key = word.FindString(p.rest())
			p.pos += len(key)
		}
		if err != nil {
			return err
		}
		if key == "" || p.next() != ':' {
			return p.fail("`key: value` is expected here, or a comma or } is missing before it")
		}
		p.pos++
		v, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		if key = snake(key); n.fields[key] == nil {
			n.order = append(n.order, key)
		}
		n.fields[key] = v
		if err := p.comma('}'); err != nil {
			return err
		}
	}
	p.pos++
	return nil
}

func (p *literal) list(n *node, depth int) error {
	n.items = []*node{}
	for p.pos++; p.next() != ']'; {
		v, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
		if err := p.comma(']'); err != nil {
			return err
		}
	}
	p.pos++
	return nil
}

func (p *literal) comma(end byte) error {
	switch p.next() {
	case ',':
		p.pos++
	case end:
	case 0:
		return p.fail("the file ends before its %c", end)
	default:
		return p.fail("a comma or %c is expected before %q", end, firstRune(p.rest()))
	}
	return nil
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// ends is what may follow a string: its quote is the closing one then.
var ends = regexp.MustCompile(`^[ \t]*([,:})\]\r\n]|//|/\*|as |satisfies |$)`)

// text reads a string. A quote that nothing fitting follows is taken for a part
// of it: an apostrophe that its author forgot to escape.
func (p *literal) text(quote byte) (string, error) {
	var b strings.Builder
	line, forgotten := p.line(), false
	for p.pos++; p.pos < len(p.src); p.pos++ {
		switch c := p.src[p.pos]; {
		case c == '\\' && p.pos+1 < len(p.src):
			p.pos++
			b.WriteString(unescape(p.src[p.pos]))
		case c == '\n' && quote != '`':
			return "", fmt.Errorf("line %d: the string is not closed with %c in its line", line, quote)
		case c == '$' && quote == '`' && strings.HasPrefix(p.src[p.pos:], "${"):
			return "", fmt.Errorf("line %d: the string computes something (${…}): write it out", line)
		case c == quote && (quote == '`' || ends.MatchString(p.src[p.pos+1:])):
			p.pos++
			if forgotten {
				p.notes = append(p.notes, fmt.Sprintf("line %d: a %c inside of the string is not escaped, TypeScript would refuse it; read as %q", line, quote, b.String()))
			}
			return b.String(), nil
		default:
			forgotten = forgotten || c == quote
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("line %d: the string is not closed with %c", line, quote)
}

func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case '\n':
		return ""
	}
	return string(c)
}

var hump = regexp.MustCompile(`([a-z0-9])([A-Z])`)

func snake(s string) string { return strings.ToLower(hump.ReplaceAllString(s, "${1}_$2")) }
