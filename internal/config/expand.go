package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} and ${NAME:-default} in a value, and $$ by $. Any other $
// stays, so that paths such as $.tokens need no escape. The default applies when the
// variable is unset or empty, as in a shell. changed reports whether a variable was
// replaced.
func expand(s string, env func(string) (string, bool)) (out string, changed bool, err error) {
	if !strings.Contains(s, "$") {
		return s, false, nil
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			b.WriteString(s)
			return b.String(), changed, nil
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		switch s[0] {
		case '$':
			b.WriteByte('$')
			s = s[1:]
		case '{':
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return "", false, fmt.Errorf("${ without its }: write ${NAME}, ${NAME:-default}, or $$ for a $")
			}
			v, err := variable(s[1:end], env)
			if err != nil {
				return "", false, err
			}
			b.WriteString(v)
			s, changed = s[end+1:], true
		default:
			b.WriteByte('$')
		}
	}
}

func variable(expr string, env func(string) (string, bool)) (string, error) {
	name, fallback, hasDefault := strings.Cut(expr, ":-")
	if !validVariable(name) {
		return "", fmt.Errorf("${%s} names no variable: write ${NAME} or ${NAME:-default} with letters, digits and _, or $$ for a $", clip(expr))
	}
	v, ok := env(name)
	switch {
	case hasDefault && v == "":
		return fallback, nil
	case !ok:
		return "", fmt.Errorf("the variable %s is not set: set it, or give a default with ${%s:-…}", name, name)
	}
	return v, nil
}

func validVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != "" && len(name) <= 256
}
