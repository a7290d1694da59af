package rules

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var pythonTest = regexp.MustCompile(`(?m)^(?:async )?def (test_\w+)\(`)

// testsOf returns the names of the tests and fuzz tests in a folder.
func testsOf(t *testing.T, packages map[string][]file, dir string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, f := range packages[dir] {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				found[fn.Name.Name] = true
			}
		}
	}
	scripts, err := filepath.Glob(filepath.Join(root, dir, "test_*.py"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pythonTest.FindAllStringSubmatch(string(b), -1) {
			found[m[1]] = true
		}
	}
	return found
}

// TestSecurityClaimsHaveTests: each row of the threat model says what an attacker cannot
// do, and names tests that are there, as `package`: `TestOne`, `TestTwo`; `other`: ….
func TestSecurityClaimsHaveTests(t *testing.T) {
	t.Parallel()
	packages, named := files(t), map[string]bool{}
	inside, claims := false, 0
	for line := range strings.Lines(text(t, "SECURITY.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		switch {
		case len(cells) != 2:
			inside = false
		case strings.TrimSpace(cells[0]) == "cannot":
			inside = true
		case inside && !strings.HasPrefix(cells[0], "---"):
			claims++
			for part := range strings.SplitSeq(cells[1], ";") {
				words := inlineCode.FindAllStringSubmatch(part, -1)
				if len(words) < 2 {
					t.Errorf("%q names no test", strings.TrimSpace(cells[0]))
					continue
				}
				dir := path.Clean(words[0][1])
				tests := testsOf(t, packages, dir)
				for _, w := range words[1:] {
					if named[dir+"."+w[1]] = true; !tests[w[1]] {
						t.Errorf("%q is proven by %s, which %s does not have", strings.TrimSpace(cells[0]), w[1], dir)
					}
				}
			}
		}
	}
	if claims < 20 || len(named) < 30 {
		t.Errorf("only %d claims and %d tests were found", claims, len(named))
	}
	// What is said outside of the tables is checked as well.
	for _, m := range regexp.MustCompile("\\(`([a-z/]+)`: `(Test\\w+)`\\)").FindAllStringSubmatch(text(t, "SECURITY.md"), -1) {
		if !testsOf(t, packages, m[1])[m[2]] {
			t.Errorf("%s has no %s", m[1], m[2])
		}
	}
}
