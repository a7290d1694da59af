package licenses

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/tidegate-io/tidegate"
)

// collected is what the licences of the linked modules come to.
type collected struct {
	list  string            // the content of modules.txt
	texts map[string]string // by name
}

// linked are the directories of packages, by the name and the directory of what they
// are part of.
type linked map[[2]string]map[string]bool

// goList adds the packages that are linked into the program on a platform.
func (l linked) goList(t *testing.T, platform string) {
	t.Helper()
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Dir,Standard,Module", "./cmd/tidegate")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v", platform, err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct{ Path, Dir string }
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Standard || strings.HasPrefix(p.Module.Path, module+"/") { // our nested modules are under the root's licence
			continue
		}
		part := [2]string{p.Module.Path, p.Module.Dir}
		if l[part] == nil {
			l[part] = map[string]bool{}
		}
		l[part][p.Dir] = true
	}
}

// platforms returns what `make dist` builds for.
func platforms(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^PLATFORMS := (.+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatal("the Makefile has no line PLATFORMS := …")
	}
	return strings.Fields(string(m[1]))
}

// collect reads the licences of everything that is linked on any platform.
func collect(t *testing.T) collected {
	t.Helper()
	goroot, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	std := strings.TrimSpace(string(goroot))
	parts := linked{{"Go's standard library", std}: {std: true}}
	for _, p := range platforms(t) {
		parts.goList(t, p)
	}
	c := collected{texts: map[string]string{}}
	for _, part := range slices.SortedFunc(maps.Keys(parts), func(a, b [2]string) int { return strings.Compare(a[0], b[0]) }) {
		row, err := c.add(part[0], part[1], parts[part])
		if err != nil {
			t.Error(err)
			continue
		}
		c.list += row
	}
	return c
}

// legal are the names of licence files and notices.
var legal = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying|notice|patents|third-party-notices)\b`)

// add reads the licences of a module: those beside its packages and in the folders
// above them. It returns the row of modules.txt.
func (c collected) add(name, dir string, packages map[string]bool) (row string, err error) {
	found := map[string]bool{} // paths
	for p := range packages {
		for ; ; p = filepath.Dir(p) {
			entries, err := os.ReadDir(p)
			if err != nil {
				return "", err
			}
			for _, e := range entries {
				if e.Type().IsRegular() && legal.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" {
					found[filepath.Join(p, e.Name())] = true
				}
			}
			if p == dir {
				break
			}
		}
	}
	licenses, texts := map[string]bool{}, []string{}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		text := tidy(string(b))
		ids, err := classify(filepath.Base(path), text)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", name, filepath.Base(path), err)
		}
		for _, id := range ids {
			licenses[id] = true
		}
		file := fmt.Sprintf("%x.txt", sha256.Sum256([]byte(text)))[52:]
		c.texts[file] = text
		if !slices.Contains(texts, file) {
			texts = append(texts, file)
		}
	}
	if len(licenses) == 0 {
		return "", fmt.Errorf("%s has no licence file: it cannot be shipped", name)
	}
	spdx := strings.Join(slices.Sorted(maps.Keys(licenses)), " AND ")
	return strings.Join(append([]string{name, spdx}, texts...), "\t") + "\n", nil
}

// tidy gives a text Unix line ends, no spaces at the ends of lines, and one newline at
// its end.
func tidy(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r\f")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n") + "\n"
}
