package events

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is the maximum depth of nested JSON, the same as in encoding/json.
const maxDepth = 10_000

// scanner reads strict JSON without allocating. Each method reads one element at i and
// moves i behind it, or reports that there is none. It accepts the same JSON as
// encoding/json and is several times as fast, which counting packed events needs.
type scanner struct {
	b []byte
	i int
}

// member is the place of an object's member in the scanner's bytes.
type member struct {
	name, nameEnd   int // between the quotes
	value, valueEnd int // with quotes and brackets
	escaped         bool
}

// validObject reports whether b is a JSON object in UTF-8.
func validObject(b []byte) bool {
	j := scanner{b: b}
	return utf8.Valid(b) && j.is('{') && j.value(0) && j.end()
}

// end reports whether only space is left.
func (j *scanner) end() bool {
	j.space()
	return j.i == len(j.b)
}

func (j *scanner) space() {
	for j.i < len(j.b) {
		switch j.b[j.i] {
		case ' ', '\t', '\n', '\r':
			j.i++
		default:
			return
		}
	}
}

func (j *scanner) is(c byte) bool { return j.i < len(j.b) && j.b[j.i] == c }

func (j *scanner) eat(c byte) bool {
	if j.is(c) {
		j.i++
		return true
	}
	return false
}

// next reads the next member of an object into m, or the object's end; then more is
// false. The caller has read the opening brace. first reports whether this is the first
// member.
func (j *scanner) next(m *member, first bool, depth int) (more, ok bool) {
	j.space()
	if j.eat('}') {
		return false, true
	}
	if !first {
		if !j.eat(',') {
			return false, false
		}
		j.space()
	}
	m.name = j.i + 1
	if m.escaped, ok = j.str(); !ok {
		return false, false
	}
	m.nameEnd = j.i - 1
	j.space()
	if !j.eat(':') {
		return false, false
	}
	j.space()
	m.value = j.i
	ok = j.value(depth)
	m.valueEnd = j.i
	return ok, ok
}

// value reads any value. depth is the number of objects and arrays around it.
func (j *scanner) value(depth int) bool {
	if j.i >= len(j.b) {
		return false
	}
	switch j.b[j.i] {
	case '"':
		_, ok := j.str()
		return ok
	case '{':
		return depth < maxDepth && j.object(depth+1)
	case '[':
		return depth < maxDepth && j.array(depth+1)
	case 't':
		return j.literal("true")
	case 'f':
		return j.literal("false")
	case 'n':
		return j.literal("null")
	}
	return j.number()
}

func (j *scanner) object(depth int) bool {
	j.i++
	var m member
	more, ok := j.next(&m, true, depth)
	for more {
		more, ok = j.next(&m, false, depth)
	}
	return ok
}

func (j *scanner) array(depth int) bool {
	j.i++
	j.space()
	if j.eat(']') {
		return true
	}
	for {
		j.space()
		if !j.value(depth) {
			return false
		}
		j.space()
		if j.eat(']') {
			return true
		}
		if !j.eat(',') {
			return false
		}
	}
}

func (j *scanner) literal(s string) bool {
	if len(j.b)-j.i < len(s) || string(j.b[j.i:j.i+len(s)]) != s {
		return false
	}
	j.i += len(s)
	return true
}

func (j *scanner) number() bool {
	j.eat('-')
	if !j.eat('0') && !j.digits() {
		return false
	}
	if j.eat('.') && !j.digits() {
		return false
	}
	if j.eat('e') || j.eat('E') {
		if !j.eat('+') {
			j.eat('-')
		}
		return j.digits()
	}
	return true
}

func (j *scanner) digits() bool {
	start := j.i
	for j.i < len(j.b) && j.b[j.i] >= '0' && j.b[j.i] <= '9' {
		j.i++
	}
	return j.i > start
}

// str reads a string and reports whether it has escapes.
func (j *scanner) str() (escaped, ok bool) {
	if !j.eat('"') {
		return false, false
	}
	for i := j.i; i < len(j.b); i++ {
		if i+8 <= len(j.b) {
			n := plainBytes(binary.LittleEndian.Uint64(j.b[i:]))
			if i += n; n == 8 {
				i--
				continue
			}
		}
		switch c := j.b[i]; {
		case c == '"':
			j.i = i + 1
			return escaped, true
		case c < 0x20:
			return false, false
		case c == '\\':
			n := escapeLen(j.b[i+1:])
			if n == 0 {
				return false, false
			}
			escaped = true
			i += n
		}
	}
	return false, false
}

// plainBytes returns how many of the eight bytes are before the first special one: a
// quote, a backslash or a control character.
func plainBytes(v uint64) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := v^ones*'"', v^ones*'\\'
	return bits.TrailingZeros64(((quote-ones)&^quote|(slash-ones)&^slash|(v-ones*0x20)&^v)&high) / 8
}

// escapeLen returns the length of the escape at the beginning of b, without its
// backslash, or 0 when there is none.
func escapeLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) < 5 {
			return 0
		}
		for _, c := range b[1:5] {
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return 0
			}
		}
		return 5
	}
	return 0
}

// LoneSurrogate reports whether valid JSON has an escape that is half of a surrogate
// pair, such as \ud800, without the other half. It stands for no character, and
// encoding/json reads every such half as the same one: two ids would fall together.
func LoneSurrogate[T string | []byte](valid T) bool {
	for i := 0; i < len(valid); i++ {
		if valid[i] != '\\' {
			continue
		}
		if i++; valid[i] != 'u' {
			continue
		}
		first := escapedRune(valid[i+1 : i+5])
		if i += 4; !utf16.IsSurrogate(first) {
			continue
		}
		if len(valid)-i < 7 || valid[i+1] != '\\' || valid[i+2] != 'u' ||
			utf16.DecodeRune(first, escapedRune(valid[i+3:i+7])) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escapedRune returns the number of four hex digits.
func escapedRune[T string | []byte](digits T) rune {
	n, _ := strconv.ParseUint(string(digits), 16, 16) // the scanner has checked them
	return rune(n)
}

// unquote returns the text of a valid JSON string.
func unquote(quoted []byte) string {
	var s string
	_ = json.Unmarshal(quoted, &s)
	return s
}
