package propose

import (
	"regexp"
	"strings"
)

var (
	declared = regexp.MustCompile(`^\s*([A-Za-z_$][\w$]*)\s*(:([^=;\n]|=>)*)?=\s*`)
	// changed is what follows a constant whose parts get other values.
	changed = regexp.MustCompile(`^(\.[\w$]+|\[[^\]\n]*\])+\s*([-+*/%&|^?]{0,2}=([^=>]|$)|\+\+|--)`)
)

// maxPath bounds how far the parts of a constant are followed, for names can stand
// in chains as long as the file.
const maxPath = 64

// findConstants notes where the value of each constant begins. A name that is
// declared twice, in different blocks, or whose parts are changed has no one value
// and is none.
func (p *literal) findConstants() {
	var around []bool // for each open bracket: whether a declaration goes on behind it
	within, unsure := false, map[string]bool{}
	declare := func() {
		m := declared.FindStringSubmatch(p.src[p.pos:])
		if m == nil {
			return
		}
		_, twice := p.consts[m[1]]
		unsure[m[1]] = unsure[m[1]] || twice
		p.pos += len(m[0])
		p.consts[m[1]] = p.pos
	}
	for p.pos < len(p.src) {
		at, c := p.pos, p.src[p.pos]
		if p.blankOrString() {
			// A line ends a declaration, unless a comma follows.
			ended := blanks(p.src[at:p.pos]) > 0 && strings.Contains(p.src[at:p.pos], "\n") && !strings.HasPrefix(p.src[p.pos:], ",")
			within = within && !ended
			continue
		}
		name := key.FindString(p.src[p.pos:])
		p.pos += max(1, len(name))
		switch {
		case name == "const":
			within = true
			declare()
		case name != "" && at > 0 && p.src[at-1] == '.': // a part, whose whole has been seen
		case name != "":
			unsure[name] = unsure[name] || changed.MatchString(p.src[p.pos:min(p.pos+maxPath, len(p.src))])
		case strings.IndexByte("([{", c) >= 0:
			around, within = append(around, within), false
		case strings.IndexByte(")]}", c) >= 0:
			within = len(around) > 0 && around[len(around)-1]
			around = around[:max(0, len(around)-1)]
		case c == ';':
			within = false
		case c == ',' && within:
			p.next()
			declare()
		}
	}
	for name, is := range unsure {
		if is {
			delete(p.consts, name)
		}
	}
	p.pos = 0
}
