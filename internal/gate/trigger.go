package gate

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
)

// Routes finds the gate of a request by the triggers of all gates. Of the
// triggers that fit, the most specific decides alone: an exact path before a
// prefix, the longer prefix before the shorter, a literal segment before one that
// stands for any, a named method before any. Of two that are equal in all of
// this, the earlier gate decides. The zero value has no triggers. A Routes is
// safe for concurrent use.
type Routes struct{ list []route }

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
	fold     bool     // upper and lower case are the same; all is lower-case here
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
		p.begin = strings.ToLower(p.begin)
		for i := range p.segments {
			p.segments[i] = strings.ToLower(p.segments[i])
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
		switch {
		case s == "" || s == "." || s == "..":
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

// Match returns the index of the gate that a request meets; ok is false when it
// meets none. The spellings are the ways to write the request's path (see
// Spellings): if one of them is gated, the request is. HEAD counts as GET, and
// OPTIONS is never gated.
func (rs *Routes) Match(method string, spellings ...string) (gate int, ok bool) {
	if method = methodOf(method); method == "OPTIONS" {
		return 0, false
	}
	for i := range rs.list {
		r := &rs.list[i]
		if r.method != "" && r.method != method {
			continue
		}
		for _, s := range spellings {
			if r.fits(s) {
				return r.gate, true
			}
		}
	}
	return 0, false
}

// methodOf is a method as routes know it.
func methodOf(m string) string {
	if m = strings.ToUpper(m); m == "HEAD" {
		return "GET"
	}
	return m
}

// fits reports whether a path is one of the pattern's. A slash at the end makes
// no difference.
func (p *pattern) fits(target string) bool {
	rest := strings.TrimSuffix(strings.TrimPrefix(target, "/"), "/")
	if p.fold {
		rest = strings.ToLower(rest)
	}
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

// Spellings returns the ways to read the path of a request: as it was sent,
// decoded, and both with dots and double slashes resolved, each once. A target is
// a path or a whole URL, with or without a query; where a request has several,
// such as with and without the prefix under which the app is mounted, all of them
// are read.
func Spellings(targets ...string) []string {
	all := make([]string, 0, 4)
	add := func(s string) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, t := range targets {
		sent := pathOf(t)
		add(sent)
		decoded, err := url.PathUnescape(sent)
		if err != nil {
			decoded = sent
		}
		add(decoded)
		add(cleaned(sent))
		add(cleaned(decoded))
	}
	return all
}

// cleaned resolves dots and double slashes; a slash at the end stays.
func cleaned(p string) string {
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	clean := path.Clean(p) // allocates only what is not clean
	if len(p) == len(clean)+1 && strings.HasSuffix(p, "/") {
		return p
	}
	return clean
}

// pathOf takes the path out of a request's target.
func pathOf(target string) string {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	if scheme, rest, absolute := strings.Cut(target, "://"); absolute && isScheme(scheme) {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return "/"
	}
	return target
}

func isScheme(s string) bool { return strings.EqualFold(s, "http") || strings.EqualFold(s, "https") }
