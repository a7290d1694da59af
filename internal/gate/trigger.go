package gate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
)

// Routes finds the gates of a request by the triggers of all gates. Of the
// triggers that fit, the most specific decides alone: an exact path before a
// prefix, the longer prefix before the shorter, a literal segment before one that
// stands for any, a named method before any. Of two that are equal in all of
// this, the earlier gate decides. The zero value has no triggers. A Routes is
// safe for concurrent use.
type Routes struct {
	list []route
	fold bool // some pattern ignores case
}

type route struct {
	pattern
	method string // upper-case; "": any
	gate   int    // index in the list that NewRoutes was given
}

// pattern is an endpoint in segments.
type pattern struct {
	segments []string // "": any one segment, which is not empty
	prefix   bool     // more may follow the segments
	begin    string   // prefix: how the next segment begins, if there must be one
	fold     bool     // upper and lower case are the same; all is folded here
}

// NewRoutes reads the triggers of gates. A trigger that ParseEndpoint refuses is
// left out: a server of another version has announced it.
func NewRoutes(gates []events.Gate) *Routes {
	rs := &Routes{}
	for i := range gates {
		for _, t := range gates[i].Triggers {
			r, err := newRoute(t)
			if err != nil {
				continue
			}
			r.gate = i
			rs.fold = rs.fold || r.fold
			rs.list = append(rs.list, r)
		}
	}
	slices.SortStableFunc(rs.list, func(a, b route) int { return a.compare(&b) })
	return rs
}

func newRoute(t events.Trigger) (route, error) {
	p, err := parseEndpoint(t.Endpoint)
	if err != nil {
		return route{}, err
	}
	if p.fold = t.IgnoreCase; p.fold {
		p.begin = folded(p.begin)
		for i := range p.segments {
			p.segments[i] = folded(p.segments[i])
		}
	}
	return route{pattern: p, method: methodOf(t.Method)}, nil
}

// ParseEndpoint returns an error that says what is wrong with the path of a
// trigger, or nil.
func ParseEndpoint(endpoint string) error {
	_, err := parseEndpoint(endpoint)
	return err
}

func parseEndpoint(endpoint string) (pattern, error) {
	rest, rooted := strings.CutPrefix(endpoint, "/")
	if !rooted {
		return pattern{}, fmt.Errorf("%q must start with /: give the path alone, without host", endpoint)
	}
	if strings.ContainsAny(rest, "?#") || strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return pattern{}, fmt.Errorf("%q must be a path without ?, # or spaces", endpoint)
	}
	if _, err := decoded(rest); err != nil {
		return pattern{}, fmt.Errorf("%q has escapes that do not give text: write the path plainly", endpoint)
	}
	var p pattern
	if rest, p.prefix = strings.CutSuffix(rest, "*"); p.prefix {
		p.begin = rest[strings.LastIndexByte(rest, '/')+1:]
		rest = rest[:len(rest)-len(p.begin)]
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest != "" {
		p.segments = strings.Split(rest, "/")
	}
	for i, s := range p.segments {
		p.segments[i] = unescaped(s)
		switch {
		case s == "" || p.segments[i] == "." || p.segments[i] == "..":
			return pattern{}, fmt.Errorf("%q has the segment %q, which no request arrives with", endpoint, s)
		case s == "*" || isParameter(s):
			p.segments[i] = ""
		case strings.ContainsAny(s, "*{}"):
			return pattern{}, fmt.Errorf("%q has the segment %q: {name} and * stand for a whole segment, and * at the end for the rest of the path", endpoint, s)
		}
	}
	if strings.ContainsAny(p.begin, "*{}") {
		return pattern{}, fmt.Errorf("%q ends in %q: what stands before the final * must be plain text", endpoint, p.begin+"*")
	}
	p.begin = unescaped(p.begin)
	return p, nil
}

// isParameter reports whether a segment is {name}.
func isParameter(s string) bool {
	return len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' && !strings.ContainsAny(s[1:len(s)-1], "{}:*")
}

// compare orders routes by how specific they are, the most specific first.
func (r *route) compare(o *route) int {
	exact := func(r *route) int {
		if r.prefix {
			return 1
		}
		return 0
	}
	if c := cmp.Compare(exact(r), exact(o)); c != 0 {
		return c
	}
	if c := cmp.Compare(len(o.segments), len(r.segments)); c != 0 {
		return c
	}
	if c := cmp.Compare(len(o.begin), len(r.begin)); c != 0 {
		return c
	}
	for i, s := range r.segments {
		if anyR, anyO := s == "", o.segments[i] == ""; anyR != anyO {
			if anyR {
				return 1
			}
			return -1
		}
	}
	switch {
	case (r.method == "") == (o.method == ""):
		return 0
	case r.method == "":
		return 1
	}
	return -1
}

// Match appends to met the indices of the gates that a request meets, the most
// specific first. The request's path is judged in every way in which an app may
// read it (see readings), and each reading meets at most one gate. So an ordinary
// request meets at most one; one whose readings differ must be let through by all
// that it appends. HEAD counts as GET, and OPTIONS is never gated.
//
// A target is a path or a whole URL, with or without a query, as it was sent. The
// alias is another name of the same target, such as with the prefix under which
// the app is mounted; "" is none. The error is ErrTarget.
func (rs *Routes) Match(met []int, method, target, alias string) ([]int, error) {
	if method == "OPTIONS" || !rs.take(methodOf(method)) {
		return met, nil
	}
	var few [2]reading
	all, err := readings(few[:0], target, alias)
	if err != nil {
		return met, err
	}
	if rs.fold {
		for i := range all {
			all[i].folded = [2]string{folded(all[i].path[0]), folded(all[i].path[1])}
		}
	}
	return rs.match(met, methodOf(method), all), nil
}

// take reports whether some route is for the method. Of others nothing is read.
func (rs *Routes) take(method string) bool {
	for i := range rs.list {
		if m := rs.list[i].method; m == "" || m == method {
			return true
		}
	}
	return false
}

func (rs *Routes) match(met []int, method string, all []reading) []int {
	var decided uint64 // a bit for each reading
	for i, left := 0, len(all); i < len(rs.list) && left > 0; i++ {
		r := &rs.list[i]
		if r.method != "" && r.method != method {
			continue
		}
		for j := range all {
			if decided&(1<<j) != 0 || !r.fits(&all[j]) {
				continue
			}
			decided |= 1 << j
			left--
			if !slices.Contains(met, r.gate) {
				met = append(met, r.gate)
			}
		}
	}
	return met
}

// methodOf is a method as routes know it.
func methodOf(m string) string {
	if m = strings.ToUpper(m); m == "HEAD" {
		return "GET"
	}
	return m
}

// fits reports whether a reading is one of the pattern's, under one of its names.
func (p *pattern) fits(r *reading) bool {
	paths := &r.path
	if p.fold {
		paths = &r.folded
	}
	return p.fitsPath(paths[0]) || paths[1] != "" && p.fitsPath(paths[1])
}

// fitsPath reports whether a path is one of the pattern's. A slash at the end makes
// no difference.
func (p *pattern) fitsPath(target string) bool {
	rest := strings.TrimSuffix(strings.TrimPrefix(target, "/"), "/")
	more := rest != ""
	for _, want := range p.segments {
		if !more {
			return false
		}
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if want == "" && segment == "" || want != "" && want != segment {
			return false
		}
	}
	if !p.prefix {
		return !more
	}
	return p.begin == "" || more && strings.HasPrefix(rest, p.begin)
}
