package gate

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrTarget is returned for the target of a request that has to be refused,
// because an app may read anything into it: escapes that don't give text, control
// characters, a path that does not begin with a slash, is too long to be read in
// every way, or can be read in more ways than anybody means.
var ErrTarget = errors.New("the path of the request cannot be read in one way: send it plainly, in UTF-8, as a browser does")

const (
	maxPath     = 8 << 10 // bytes
	maxOddPath  = 2 << 10 // of a path that more than decoding concerns
	maxReadings = 48      // at most 64, the bits of Routes.match
)

// reading is a way to read the path of a request, under both of its names; the
// second is "" where there is one only.
type reading struct{ path, folded [2]string }

// readings appends the ways in which apps, and what stands before them, read a
// path: as it was sent, and rewritten in every order (see rewrites) until nothing
// new comes out. Almost always that is one. all must be empty.
func readings(all []reading, target, alias string) ([]reading, error) {
	sent := reading{path: [2]string{PathOf(target), ""}}
	if alias != "" && alias != target {
		if sent.path[1] = PathOf(alias); sent.path[1] == sent.path[0] {
			sent.path[1] = ""
		}
	}
	all = append(all, sent)
	if isPlain(sent.path[0]) && (sent.path[1] == "" || isPlain(sent.path[1])) {
		return all, nil
	}
	once, simple, length := sent, true, 0
	for i, p := range sent.path {
		if p == "" {
			continue
		}
		if p[0] != '/' || len(p) > maxPath || strings.IndexByte(p, ' ') >= 0 {
			return nil, ErrTarget
		}
		var err error
		if once.path[i], err = decoded(p); err != nil {
			return nil, err
		}
		simple = simple && isSimple(p, once.path[i])
		length = max(length, len(p))
	}
	switch {
	case simple && !hasNeedless(sent.path[0]) && !hasNeedless(sent.path[1]):
		return append(all[:0], once), nil // nobody writes it otherwise
	case simple:
		return append(all, once), nil
	}
	if length > maxOddPath {
		return nil, ErrTarget
	}
	return rewritten(all)
}

// rewritten appends what every rewrite makes of all readings, and of what comes out.
func rewritten(all []reading) ([]reading, error) {
	for i := 0; i < len(all); i++ {
		for _, rewrite := range rewrites {
			next := reading{path: [2]string{rewrite(all[i].path[0]), rewrite(all[i].path[1])}}
			if slices.Contains(all, next) {
				continue
			}
			if len(all) == maxReadings {
				return nil, ErrTarget
			}
			all = append(all, next)
		}
	}
	return all, nil
}

// rewrites are what apps, frameworks and gateways do with a path before they route
// it. Each returns a path that it does not concern as it is.
var rewrites = [...]func(string) string{
	decodedOrSame, unescaped, withoutFragment, withSlashes, withoutHost, merged, resolved, withoutParameters,
}

// isPlain reports whether a path can be read in one way only.
func isPlain(p string) bool {
	return p[0] == '/' && len(p) <= maxPath && !isOdd(p, func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '%' })
}

// isSimple reports whether a path can be read in two ways only, as it was sent and
// decoded.
func isSimple(sent, decoded string) bool {
	return !isOdd(sent, func(byte) bool { return false }) && !isOdd(decoded, func(c byte) bool { return c == '%' }) &&
		strings.Count(sent, "/") == strings.Count(decoded, "/")
}

// hasNeedless reports whether a path that can be decoded has escapes of what could
// stand there plainly.
func hasNeedless(p string) bool {
	for i := 0; i+2 < len(p); i++ {
		if p[i] != '%' {
			continue
		}
		if c := hex(p[i+1])<<4 | hex(p[i+2]); ' ' < c && c < utf8.RuneSelf {
			return true
		}
	}
	return false
}

// isOdd reports whether one of the rewrites besides decoding may concern a path, or
// it has a byte that is too much.
func isOdd(p string, tooMuch func(byte) bool) bool {
	slash := false
	for i := range len(p) {
		c := p[i]
		if c == '#' || c == '\\' || c == ';' || slash && (c == '/' || c == '.') || tooMuch(c) {
			return true
		}
		slash = c == '/'
	}
	return false
}

// PathOf takes the path out of a request's target. What a "#" begins stays: some
// servers take it for a part of the path.
func PathOf(target string) string {
	target, _, _ = strings.Cut(target, "?")
	if scheme, rest, absolute := strings.Cut(target, "://"); absolute && isScheme(scheme) {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return "/"
	}
	if target == "" {
		return "/"
	}
	return target
}

// isScheme reports whether s can be the scheme of a URL.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || strings.IndexByte("0123456789+-.", s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

// decoded replaces the escapes of a path, and returns an error if they don't give
// text without control characters.
func decoded(p string) (string, error) {
	if d, ok := unescape(p, false); ok {
		return d, nil
	}
	return "", ErrTarget
}

// decodedOrSame decodes what can be: what an app decodes once more need not be
// escaped.
func decodedOrSame(p string) string {
	if d, ok := unescape(p, false); ok {
		return d
	}
	return p
}

// unescaped decodes all but slashes, as routers do that look for them first.
func unescaped(p string) string {
	if d, ok := unescape(p, true); ok {
		return d
	}
	return p
}

// unescape replaces escapes; ok is false if one is none, or if they don't give text
// without control characters.
func unescape(p string, keepSlash bool) (d string, ok bool) {
	if strings.IndexByte(p, '%') >= 0 {
		if p, ok = replaceEscapes(p, keepSlash); !ok {
			return "", false
		}
	}
	for i := range len(p) {
		if p[i] < ' ' || p[i] == 0x7f {
			return "", false
		}
	}
	return p, utf8.ValidString(p)
}

func replaceEscapes(p string, keepSlash bool) (string, bool) {
	var out strings.Builder
	out.Grow(len(p))
	for i := 0; i < len(p); i++ {
		if p[i] != '%' {
			out.WriteByte(p[i])
			continue
		}
		if i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
			return "", false
		}
		if c := hex(p[i+1])<<4 | hex(p[i+2]); c == '/' && keepSlash {
			out.WriteString("%2F")
		} else {
			out.WriteByte(c)
		}
		i += 2
	}
	return out.String(), true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func hex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func withoutFragment(p string) string {
	p, _, _ = strings.Cut(p, "#")
	return p
}

// withSlashes turns backslashes into slashes, as readers of URLs do.
func withSlashes(p string) string { return strings.ReplaceAll(p, `\`, "/") }

// withoutHost takes the first segment behind two slashes for a host, as readers of
// URLs do.
func withoutHost(p string) string {
	if !strings.HasPrefix(p, "//") {
		return p
	}
	p = strings.TrimLeft(p, "/")
	if i := strings.IndexByte(p, '/'); i >= 0 {
		return p[i:]
	}
	return "/"
}

// merged makes one slash of several.
func merged(p string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

// resolved resolves dots, and leaves empty segments, as RFC 3986 and readers of
// URLs do.
func resolved(p string) string {
	if !strings.Contains(p, "/.") {
		return p
	}
	segments := strings.Split(p, "/")[1:]
	if !slices.Contains(segments, ".") && !slices.Contains(segments, "..") {
		return p
	}
	kept := segments[:0]
	for i, s := range segments {
		if s == ".." && len(kept) > 0 {
			kept = kept[:len(kept)-1]
		}
		if s != "." && s != ".." {
			kept = append(kept, s)
		} else if i == len(segments)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// withoutParameters leaves out what stands behind a semicolon in each segment.
func withoutParameters(p string) string {
	if strings.IndexByte(p, ';') < 0 {
		return p
	}
	segments := strings.Split(p, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

// folded makes letters equal that differ by case, in one of the ways in which
// routers see it.
func folded(p string) string {
	for i := range len(p) {
		if c := p[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldedRune, p)
		}
	}
	return p
}

func foldedRune(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case r < utf8.RuneSelf:
		return r
	}
	return unicode.ToLower(unicode.ToUpper(r))
}
