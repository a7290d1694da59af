package propose

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// literal reads values of TypeScript: objects, lists, numbers and strings with
// comments, any kind of quotes, trailing commas, `as const` and the like. The
// names of constants in the same file stand for their values. Nothing is run:
// any other expression becomes a computed node.
type literal struct {
	src    string
	pos    int
	lines  []int          // where each line begins
	consts map[string]int // name → where its value begins
	nodes  int            // read so far
	notes  []remark
}

func newLiteral(src string) *literal {
	p := &literal{src: src, lines: []int{0}, consts: map[string]int{}}
	for i := range len(src) {
		if src[i] == '\n' {
			p.lines = append(p.lines, i+1)
		}
	}
	p.findConstants()
	return p
}

func (p *literal) line() int {
	i, found := slices.BinarySearch(p.lines, p.pos)
	if found {
		i++
	}
	return i
}

func (p *literal) fail(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.line(), fmt.Sprintf(format, args...))
}

var blank = regexp.MustCompile(`^(\s+|//[^\n]*|/\*(?s:.*?)\*/)+`)

// rest skips blanks and comments and returns what follows.
func (p *literal) rest() string {
	p.pos += blanks(p.src[p.pos:])
	return p.src[p.pos:]
}

// blanks returns the length of the blanks and comments that s begins with.
func blanks(s string) int {
	if s == "" || strings.IndexByte(" \t\r\n\f/", s[0]) < 0 {
		return 0
	}
	return len(blank.FindString(s))
}

// next returns the next byte that is not blank, 0 at the end.
func (p *literal) next() byte {
	if rest := p.rest(); rest != "" {
		return rest[0]
	}
	return 0
}

// Bounds of what is read, for constants can name each other.
const (
	maxDepth = 32
	maxNodes = 20_000
)

var (
	word     = regexp.MustCompile(`^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*`)
	numeral  = regexp.MustCompile(`^[+-]?(0[xXoObB][0-9a-fA-F_]+|(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][+-]?\d+)?)n?`)
	infinity = regexp.MustCompile(`^[+-]?(Infinity|Number\.(POSITIVE_INFINITY|MAX_SAFE_INTEGER))\b`)
	// operators continue an expression after a value.
	operators = "+-*/%|&?<>=.!([`^"
)

// value reads a value. end is the byte that closes what the value stands in, 0
// for a statement.
func (p *literal) value(depth int, end byte) (*node, error) {
	p.next()
	start := p.pos
	if p.nodes++; depth > maxDepth || p.nodes > maxNodes {
		return nil, p.fail("objects are nested too deeply, or are too many")
	}
	n, err := p.operand(depth, end)
	for err == nil && n != nil {
		p.casts()
		if c := p.next(); c == 0 || !strings.ContainsRune(operators, rune(c)) {
			break
		}
		n, err = p.joined(n, depth, end)
	}
	if err != nil {
		return nil, err
	}
	if n == nil {
		p.pos = start
		return p.computed(end), nil
	}
	return n, nil
}

// joined reads `+` and a further text. It returns nil for any other operator.
func (p *literal) joined(n *node, depth int, end byte) (*node, error) {
	if p.next() == '!' && !strings.HasPrefix(p.rest(), "!=") {
		p.pos++ // the assertion that a value is not null
		return n, nil
	}
	if p.next() != '+' || !n.scalar() {
		return nil, nil
	}
	p.pos++
	p.next()
	m, err := p.operand(depth, end)
	if err != nil || !m.scalar() || !n.quoted && !m.quoted {
		return nil, err
	}
	both := *n
	both.text, both.quoted = n.text+m.text, true
	return &both, nil
}

// operand reads a value without what operators add to it. It returns nil for an
// expression that is not evaluated.
func (p *literal) operand(depth int, end byte) (*node, error) {
	c := p.next()
	n := &node{pos: p.pos, line: p.line()}
	switch c {
	case '{':
		return n, p.object(n, depth)
	case '[':
		return n, p.list(n, depth)
	case '\'', '"', '`':
		return p.text(c, end, depth)
	case '(':
		p.pos++
		v, err := p.value(depth+1, ')')
		if err != nil || p.next() != ')' {
			return nil, nil // the parameters of a function
		}
		p.pos++
		return v, nil
	case 0, ',', '}', ']', ')', ':', ';':
		return nil, p.fail("a value is expected here")
	}
	for _, scalar := range []*regexp.Regexp{infinity, numeral} {
		if n.text = scalar.FindString(p.rest()); n.text != "" {
			p.pos += len(n.text)
			n.text = plainNumber(n.text)
			return n, nil
		}
	}
	return p.named(n, depth)
}

// plainNumber writes a numeral in decimal digits.
func plainNumber(s string) string {
	if s = strings.TrimPrefix(s, "+"); strings.Contains(s, "I") { // infinity, by any of its names
		return s
	}
	s = strings.TrimSuffix(strings.ReplaceAll(s, "_", ""), "n")
	if i, err := strconv.ParseInt(s, 0, 64); err == nil && len(s) > 1 && s[0] == '0' {
		return strconv.FormatInt(i, 10)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, ".eE") && f < 1e18 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return s
}

var (
	definer = regexp.MustCompile(`^(\w+\.)?(define|create)[A-Z]\w*$|^Object\.freeze$`)
	open    = regexp.MustCompile(`^(<[^()]*>)?\s*\(`)
)

// named reads a word: true, null, the name of a constant, or a call such as
// defineStep({…}), which stands for its argument.
func (p *literal) named(n *node, depth int) (*node, error) {
	n.text = word.FindString(p.rest())
	p.pos += len(n.text)
	switch n.text {
	case "true", "false", "null":
		return n, nil
	case "undefined":
		n.text = "null"
		return n, nil
	}
	if opened := open.FindString(p.rest()); opened != "" && definer.MatchString(n.text) {
		p.pos += len(opened)
		v, err := p.value(depth+1, ')')
		if err == nil && p.next() == ',' {
			p.pos++
		}
		if err != nil || p.next() != ')' {
			return nil, nil // a call with other arguments
		}
		p.pos++
		return v, nil
	}
	return p.constant(n.text, depth), nil
}

// constant returns the value of a constant, or of a part such as LIMITS.free,
// and nil if the file does not give it.
func (p *literal) constant(name string, depth int) *node {
	parts := strings.Split(name, ".")
	at, known := p.consts[parts[0]]
	if !known {
		return nil
	}
	defer func(pos int) { p.pos = pos }(p.pos)
	p.pos = at
	n, err := p.value(depth+1, 0)
	if err != nil || n.computed {
		return nil
	}
	for _, part := range parts[1:] {
		if n = n.fields[snake(part)]; n == nil || n.computed {
			return nil
		}
	}
	return n
}

var castWord = regexp.MustCompile(`^(as|satisfies)\s`)

// casts skips `as const`, `satisfies Loop<A, B>` and the like.
func (p *literal) casts() {
	for castWord.MatchString(p.rest()) {
		p.pos += len(castWord.FindString(p.rest()))
		p.next()
		for depth := 0; p.pos < len(p.src); p.pos++ {
			c := p.src[p.pos]
			if depth == 0 && (strings.IndexByte(",)}];\n=", c) >= 0 || strings.HasPrefix(p.src[p.pos:], "//") ||
				c == ' ' && castWord.MatchString(p.src[p.pos+1:])) {
				break
			}
			switch c {
			case '<', '(', '[', '{':
				depth++
			case '>', ')', ']', '}':
				depth--
			}
		}
	}
}

// computed skips an expression up to the comma or bracket behind it.
func (p *literal) computed(end byte) *node {
	n := &node{pos: p.pos, line: p.line(), computed: true}
	for depth := 0; p.pos < len(p.src); {
		c := p.src[p.pos]
		switch {
		case p.blankOrString():
			continue
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case depth == 0 && (strings.IndexByte(",;)]}", c) >= 0 || end == 0 && c == '\n'):
			n.text = clip(p.src[n.pos:p.pos])
			return n
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		}
		p.pos++
	}
	n.text = clip(p.src[n.pos:])
	return n
}

// clip returns source as a message shows it.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > 40 {
		return string(runes[:39]) + "…"
	}
	return s
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}
