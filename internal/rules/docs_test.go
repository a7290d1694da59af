package rules

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(root + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// named checks that a page names everything that the code says it has: each
// first group of pattern, in quotes or at a word's end.
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
	for _, source := range []string{"build", "billing", "mail", "progress"} {
		named(t, "docs/operations.md", "internal/app/"+source+".go", `"(tidegate_[a-z_]+)`, 1)
	}
}

func TestDocsNameEveryStream(t *testing.T) {
	named(t, "docs/events.md", "events/names.go", `Stream[A-Z][a-z]+ *= "([A-Z]+)"`, 8)
}

func TestDocsNameTheBoundsOfAnEvent(t *testing.T) {
	doc, source := text(t, "docs/events.md"), text(t, "events/event.go")
	for code, said := range map[string]string{
		"MaxEventBytes    = 64 << 10": "64 KiB", "MaxCustomerBytes = 256": "1 to 256 bytes", "MaxIDBytes       = 512": "at most 512 bytes",
		"MaxAhead         = 5 * time.Minute": "5 minutes ahead", "MaxBatchBytes    = 512 << 10": "512 KiB",
	} {
		if !strings.Contains(source, code) || !strings.Contains(doc, said) {
			t.Errorf("docs/events.md says %q, events/event.go %q: not both are so any more", said, code)
		}
	}
}
