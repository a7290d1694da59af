package propose

import (
	"regexp"
	"strings"
)

var (
	key      = regexp.MustCompile(`^[\w$]+`)
	modifier = regexp.MustCompile(`^((async|get|set|static)\s+|\*)`)
)

// object reads the fields of an object, beginning at its {.
func (p *literal) object(n *node, depth int) error {
	n.fields = map[string]*node{}
	for p.pos++; p.next() != '}'; {
		var err error
		if strings.HasPrefix(p.rest(), "...") {
			err = p.spread(n, depth)
		} else {
			err = p.field(n, depth)
		}
		if err == nil {
			err = p.comma('}')
		}
		if err != nil {
			return err
		}
	}
	p.pos++
	return nil
}

// spread reads ...other, whose fields become those of n.
func (p *literal) spread(n *node, depth int) error {
	p.pos += len("...")
	v, err := p.value(depth+1, '}')
	switch {
	case err != nil:
		return err
	case v.fields == nil:
		n.set("..."+v.text, v)
	default:
		for _, name := range v.order {
			n.set(name, v.fields[name])
		}
	}
	return nil
}

// field reads `key: value`, a method, or a constant's name alone.
func (p *literal) field(n *node, depth int) error {
	start, line := p.pos, p.line()
	name, err := p.key(depth)
	if err != nil {
		return err
	}
	switch c := p.next(); {
	case name != "" && c == ':':
		p.pos++
		v, err := p.value(depth+1, '}')
		if err != nil {
			return err
		}
		n.set(snake(name), v)
	case name != "" && (c == ',' || c == '}'):
		v := p.constant(name, depth)
		if v == nil {
			v = &node{pos: start, line: line, text: name, computed: true}
		}
		n.set(snake(name), v)
	case name != "" && (c == '(' || c == '<'):
		p.pos = start
		n.set(snake(name), p.computed('}'))
	default:
		return p.fail("`key: value` is expected here, or a comma or } is missing before it")
	}
	return nil
}

// key reads the name of a field. That of ['name'] is the text in it.
func (p *literal) key(depth int) (string, error) {
	for m := modifier.FindString(p.rest()); m != ""; m = modifier.FindString(p.rest()) {
		if after := p.src[p.pos+len(m):]; after == "" || strings.IndexByte(",:(}", after[0]) >= 0 {
			break // a field of that name
		}
		p.pos += len(m)
	}
	switch c := p.next(); c {
	case '\'', '"':
		n, err := p.text(c, ':', depth)
		if err != nil {
			return "", err
		}
		return n.text, nil
	case '[':
		p.pos++
		n, err := p.value(depth+1, ']')
		if err != nil || p.next() != ']' {
			return "", err
		}
		p.pos++
		return n.text, nil
	}
	name := key.FindString(p.rest())
	p.pos += len(name)
	return name, nil
}

// list reads the items of a list, beginning at its [.
func (p *literal) list(n *node, depth int) error {
	n.items = []*node{}
	for p.pos++; p.next() != ']'; {
		spread := strings.HasPrefix(p.rest(), "...")
		if spread {
			p.pos += len("...")
		}
		v, err := p.value(depth+1, ']')
		if err != nil {
			return err
		}
		n.items = append(n.items, v) // list() flattens a list that is spread
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
