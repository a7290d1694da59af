// Package environ reads settings from the environment.
package environ

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// userInfo is what stands before the host in an address: a user and password, or a
// token.
var userInfo = regexp.MustCompile(`://\S*@`)

// Redact leaves out of a text what stands before the hosts of the addresses in it.
// Every error and every line of the log that a person sees goes through it, as
// libraries quote addresses with the passwords in them.
func Redact(text string) string { return userInfo.ReplaceAllLiteralString(text, "://…@") }

// Address returns addresses, with commas between them, as people may see them: nothing
// of what stands before the last @ but a scheme. A password may hold whatever ends an
// address elsewhere, and an address need not have a scheme.
func Address(list string) string {
	at := strings.LastIndexByte(list, '@')
	if at < 0 {
		return list
	}
	scheme, _, there := strings.Cut(list[:at], "://")
	if there && schemeForm.MatchString(scheme) {
		return scheme + "://…" + list[at:]
	}
	return "…" + list[at:]
}

var schemeForm = regexp.MustCompile(`^(nats|tls|wss?|https?|mongodb(\+srv)?)$`)

// Lookup returns the value of a variable, else the content of the file that its
// name with _FILE points to, else "". An error says which file cannot be read.
func Lookup(name string) (string, error) {
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	path := File(name)
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// File returns the file that Lookup reads the value of a variable from, or "".
func File(name string) string {
	if os.Getenv(name) != "" {
		return ""
	}
	return os.Getenv(name + "_FILE")
}

// List splits a value at its commas, and leaves empty parts out: there are two
// secrets while one is being rotated.
func List(value string) (list []string) {
	for v := range strings.SplitSeq(value, ",") {
		if v = strings.TrimSpace(v); v != "" {
			list = append(list, v)
		}
	}
	return list
}
