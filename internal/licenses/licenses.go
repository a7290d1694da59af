// Package licenses has the licences of all code that is linked into the program, ours
// included. The folder texts and modules.txt are written by this package's test
// (`go test ./internal/licenses -update`), which compares them with the linked modules.
package licenses

import (
	"embed"
	"fmt"
	"io"
	"strings"
)

//go:embed modules.txt texts
var files embed.FS

// Module is a part of the program: a Go module, or the standard library.
type Module struct {
	Name    string `json:"module"`
	License string `json:"license"` // SPDX identifiers, joined by " AND "
	// Texts are the names of its licence files and notices, for Text.
	Texts []string `json:"texts"`
}

// Modules returns what is linked into the program, sorted by name.
func Modules() ([]Module, error) {
	b, err := files.ReadFile("modules.txt")
	if err != nil {
		return nil, err
	}
	var list []Module
	for line := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) < 3 {
			return nil, fmt.Errorf("modules.txt: %q has no name, licence and text", line)
		}
		list = append(list, Module{Name: fields[0], License: fields[1], Texts: fields[2:]})
	}
	return list, nil
}

// Text returns a licence or notice by its name.
func Text(name string) (string, error) {
	b, err := files.ReadFile("texts/" + name)
	return string(b), err
}

// Print writes the list of modules, and then each text once, below the names of the
// modules that have it.
func Print(w io.Writer, list []Module) error {
	var b strings.Builder
	names, users := []string{}, map[string][]string{}
	for _, m := range list {
		fmt.Fprintf(&b, "%-55s %s\n", m.Name, m.License)
		for _, name := range m.Texts {
			if users[name] == nil {
				names = append(names, name)
			}
			users[name] = append(users[name], m.Name)
		}
	}
	for _, name := range names {
		text, err := Text(name)
		if err != nil {
			return err
		}
		line := strings.Repeat("=", 80)
		fmt.Fprintf(&b, "\n%s\n%s\n%s\n\n%s", line, strings.Join(users[name], "\n"), line, text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
