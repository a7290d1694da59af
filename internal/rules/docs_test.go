package rules

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate/events"
)

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(root + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// named checks that a page names everything that pattern finds in the code (its first
// group), in quotes or at the end of a word.
func named(t *testing.T, page, source, pattern string, least int) {
	t.Helper()
	doc := text(t, page)
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(text(t, source), -1)
	if len(found) < least {
		t.Fatalf("%s: %d matches of %s", source, len(found), pattern)
	}
	for _, m := range found {
		name := strings.Join(m[1:], " ")
		if !regexp.MustCompile(regexp.QuoteMeta(name) + `([^a-z_]|$)`).MatchString(doc) {
			t.Errorf("%s does not name %s of %s", page, name, source)
		}
	}
}

func TestDocsNameEveryRoute(t *testing.T) {
	named(t, "docs/http.md", "ingest/routes.go", `\{"([A-Z]+)", "(/(?:v1|webhooks|u|unsubscribe|livez|readyz|metrics)[^"]*)"`, 20)
}

func TestDocsNameEveryReason(t *testing.T) {
	named(t, "docs/http.md", "events/decision.go", `Reason = "([a-z_]+)"`, 9)
}

func TestDocsNameEveryMetric(t *testing.T) {
	named(t, "docs/operations.md", "ingest/wrap.go", "`(tidegate_[a-z_]+)", 7)
	for _, source := range []string{"build", "listen", "billing", "mail", "progress"} {
		named(t, "docs/operations.md", "internal/app/"+source+".go", `"(tidegate_[a-z_]+)`, 1)
	}
}

func TestDocsNameEveryStream(t *testing.T) {
	named(t, "docs/events.md", "events/names.go", `Stream[A-Z][a-z]+ *= "([A-Z]+)"`, 8)
}

func TestDocsNameTheBoundsOfAnEvent(t *testing.T) {
	doc := text(t, "docs/events.md")
	for _, said := range []string{
		fmt.Sprintf("%d KiB", events.MaxEventBytes>>10), fmt.Sprintf("%d KiB", events.MaxBatchBytes>>10),
		fmt.Sprintf("1 to %d bytes", events.MaxCustomerBytes), fmt.Sprintf("at most %d bytes", events.MaxIDBytes),
		fmt.Sprintf("%d minutes ahead", int(events.MaxAhead.Minutes())),
	} {
		if !strings.Contains(doc, said) {
			t.Errorf("docs/events.md does not say %q", said)
		}
	}
}

// pages returns the paths, from the root, of all documents of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != root && (name != ".github" && strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
			return filepath.SkipDir
		}
		if ext := filepath.Ext(name); ext == ".md" || ext == ".mdc" {
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(found, "README.md") || len(found) < 15 {
		t.Fatalf("only these pages were found: %v", found)
	}
	return found
}

// widest is the maximum number of characters in a line of a document.
const widest = 119

func TestDocsHaveShortLines(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		n := 0
		for line := range strings.Lines(text(t, page)) {
			n++
			line = strings.TrimSuffix(line, "\n")
			if isRow := strings.HasPrefix(strings.TrimSpace(line), "|"); isRow {
				continue // rows of a table can't be broken
			}
			if got := utf8.RuneCountInString(line); got > widest {
				t.Errorf("%s:%d has %d characters, at most %d are allowed", page, n, got, widest)
			}
		}
	}
}

var markdownLink = regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)

// TestDocsLinks checks that all links to files of the repository, and to headings in
// them, have a target.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		for _, l := range markdownLink.FindAllStringSubmatch(text(t, page), -1) {
			if strings.Contains(l[1], "://") || strings.HasPrefix(l[1], "mailto:") {
				continue
			}
			target := page
			if l[1] != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(page), l[1]))
			}
			st, err := os.Stat(filepath.Join(root, target))
			if err != nil {
				t.Errorf("%s points to %s, which is not there", page, l[1])
				continue
			}
			if anchor := strings.TrimPrefix(l[2], "#"); anchor != "" && (st.IsDir() || !slices.Contains(anchors(text(t, target)), anchor)) {
				t.Errorf("%s points to %s, which has no heading #%s", page, target, anchor)
			}
		}
	}
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(page string) (found []string) {
	fenced := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		title, heading := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if fenced || !heading || !strings.HasPrefix(line, "#") {
			continue
		}
		title = notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
		found = append(found, strings.ReplaceAll(title, " ", "-"))
	}
	return found
}

var (
	inlineCode = regexp.MustCompile("`([^`]+)`")
	plainPath  = regexp.MustCompile(`^(?:\./)?([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.*-]+)*)/?$`)
	dotPath    = regexp.MustCompile(`(?:^|\s)\./([a-z][A-Za-z0-9_./-]*)`)
	// A tag of a module, such as client/v0.3.0, and a word in capitals, such as
	// internal/store/NAME, only look like paths.
	noPath = regexp.MustCompile(`/(?:v\d[\w.]*|[A-Z_]+)(?:/|$)`)
)

// TestDocsPaths checks that all paths of the repository in documents exist. A path is a
// word in `code` with a slash whose first segment is at the root of the repository, or a
// word with the prefix ./ in a block of code.
func TestDocsPaths(t *testing.T) {
	t.Parallel()
	top := map[string]bool{"internal": true, "cmd": true}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		top[e.Name()] = true
	}
	for _, built := range []string{"bin", "dist", ".venv"} { // is there, or not
		delete(top, built)
	}
	checked := 0
	for _, page := range pages(t) {
		if page == "CHANGELOG.md" {
			continue // it also describes the past
		}
		for _, p := range paths(text(t, page)) {
			first, _, nested := strings.Cut(p, "/")
			if !nested || !top[first] || noPath.MatchString(p) {
				continue
			}
			checked++
			if found, err := filepath.Glob(filepath.Join(root, p)); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", page, p)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d paths were found", checked)
	}
}

// paths returns the words of a page that may be paths.
func paths(page string) (found []string) {
	fenced := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if fenced {
			for _, m := range dotPath.FindAllStringSubmatch(line, -1) {
				found = append(found, strings.TrimRight(m[1], "./"))
			}
			continue
		}
		for _, code := range inlineCode.FindAllStringSubmatch(line, -1) {
			for word := range strings.FieldsSeq(code[1]) {
				if m := plainPath.FindStringSubmatch(word); m != nil {
					found = append(found, m[1])
				}
			}
		}
	}
	return found
}
