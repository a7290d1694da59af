package propose

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// text reads a string, beginning at its quote. In TypeScript a string ends at
// the next such quote. In a published example it may be an apostrophe that its
// author forgot to escape: if what follows can't follow a value, it is taken for
// a part of the string. text returns nil for a template that computes something.
func (p *literal) text(quote, end byte, depth int) (*node, error) {
	var b strings.Builder
	n := &node{pos: p.pos, line: p.line(), quoted: true}
	forgotten := false
	for p.pos++; p.pos < len(p.src); {
		c := p.src[p.pos]
		switch {
		case c == '\\' && p.pos+1 < len(p.src):
			p.pos++
			b.WriteString(p.escape())
			continue
		case c == '\n' && quote != '`':
			return nil, fmt.Errorf("line %d: the string is not closed with %c in its line", n.line, quote)
		case c == '$' && quote == '`' && strings.HasPrefix(p.src[p.pos:], "${"):
			p.pos += len("${")
			v, err := p.value(depth+1, '}')
			if err != nil || !v.scalar() || p.next() != '}' {
				return nil, err
			}
			b.WriteString(v.text)
		case c == quote && (quote == '`' || closes(p.src[p.pos+1:], end)):
			p.pos++
			n.text = b.String()
			if forgotten {
				p.notes = append(p.notes, remark{n.line, fmt.Sprintf("a %c inside of the string is not escaped, TypeScript would refuse it; read as %q", quote, n.text)})
			}
			return n, nil
		default:
			forgotten = forgotten || c == quote
			b.WriteByte(c)
		}
		p.pos++
	}
	return nil, fmt.Errorf("line %d: the string is not closed with %c", n.line, quote)
}

// What may follow a string: the end of its line, a comment, a type, an operator.
// Then the closing bracket, or a comma and what may follow that.
var (
	anywhere = regexp.MustCompile(`^[ \t]*(` + strings.Join([]string{
		`\r?\n|$`,
		`//|/\*`,
		`\+[ \t]*(['"` + "`" + `\w$(]|\r?\n)|\|\||\?\?|[!=]==?|!?\.[A-Za-z]+\(`,
		`as[ \t]+(const|[A-Z][\w$.<>\[\]|, ]*|string)[ \t]*([,})\];\r\n]|$)`,
		`satisfies[ \t]+[\w$]`,
	}, "|") + `)`)
	nextField = regexp.MustCompile(`^\s*($|\}|\.\.\.|\[|//|/\*|[\w$]+\s*[:,}(<]|(async|get|set|static)\s+\w|'[^'\n]*'\s*:|"[^"\n]*"\s*:)`)
	nextItem  = regexp.MustCompile(`^\s*($|[\])]|\.\.\.|//|/\*|['"` + "`" + `{\[(\d+-]|[A-Za-z_$][\w$.]*\s*[,\](<])`)
)

// closes reports whether rest, which follows a quote, can follow a string. end
// closes what the string stands in.
func closes(rest string, end byte) bool {
	if anywhere.MatchString(rest) {
		return true
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest[0] == end || end == 0 && rest[0] == ';' {
		return true
	}
	after, comma := strings.CutPrefix(rest, ",")
	switch {
	case !comma:
		return false
	case strings.HasPrefix(strings.TrimLeft(after, " \t\r"), "\n"):
		return true // a string ends in its line
	case end == '}':
		return nextField.MatchString(after)
	}
	return end == 0 || nextItem.MatchString(after)
}

var escaped = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'b': "\b", 'f': "\f", 'v': "\v", '0': "\x00", '\n': ""}

var codePoint = regexp.MustCompile(`^(x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\})`)

// escape reads what follows a backslash.
func (p *literal) escape() string {
	rest := p.src[p.pos:]
	if strings.HasPrefix(rest, "\r\n") {
		p.pos += 2
		return ""
	}
	if m := codePoint.FindStringSubmatch(rest); m != nil {
		p.pos += len(m[0])
		r, _ := strconv.ParseUint(m[2]+m[3]+m[4], 16, 32) // the expression lets only digits through
		if low := codePoint.FindStringSubmatch(strings.TrimPrefix(p.src[p.pos:], `\`)); r>>10 == 0xD800>>10 && low != nil {
			if l, _ := strconv.ParseUint(low[3], 16, 32); l>>10 == 0xDC00>>10 {
				p.pos += len(`\`) + len(low[0])
				r = 0x10000 + (r-0xD800)<<10 + (l - 0xDC00)
			}
		}
		return string(rune(r))
	}
	c, size := utf8.DecodeRuneInString(rest)
	p.pos += size
	if s, ok := escaped[rest[0]]; ok {
		return s
	}
	return string(c)
}
