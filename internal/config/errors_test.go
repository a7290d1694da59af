package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// base is a valid document. Each test case spoils one part of it.
const base = `public_url: https://gate.acme.example
from: Acme <billing@acme.example>
plans:
  free: {default: true}
  pro: {stripe: {prices: [price_1]}}
gates:
  - feature: api
    condition:
      limit: {free: 100, pro: unlimited}
      period: 30d
`

// spoiled is a document with one mistake.
type spoiled struct {
	name     string
	old, new string   // replaced in base; old "" appends
	want     []string // "line field: part of the message"
	// schema reports whether the JSON Schema refuses it too.
	schema bool
}

func (s spoiled) document() string {
	if s.old == "" {
		return base + s.new
	}
	if strings.Count(base, s.old) != 1 {
		panic(fmt.Sprintf("%s: %q does not stand once in the base document", s.name, s.old))
	}
	return strings.Replace(base, s.old, s.new, 1)
}

func environment(name string) (string, bool) {
	v, ok := map[string]string{"LIMIT": "250", "HOST": "acme.example", "EMPTY": "", "WORD": "many", "SECRET": "sk_live_" + strings.Repeat("x", 80)}[name]
	return v, ok
}

func problemsOf(t *testing.T, doc string) []Problem {
	t.Helper()
	c, err := Parse([]byte(doc), environment)
	var errs *Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %v and error %v, want an *Errors", c, err)
	}
	if c != nil || len(errs.Problems) == 0 {
		t.Fatalf("got %v and %d problems, want nil and some", c, len(errs.Problems))
	}
	return errs.Problems
}

func checkProblems(t *testing.T, got []Problem, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d problems, want %d", len(got), len(want))
	}
	for i, p := range got {
		line := fmt.Sprintf("%d %s", p.Line, p)
		if i >= len(want) {
			t.Errorf("unexpected: %s", line)
			continue
		}
		place, part, _ := strings.Cut(want[i], ": ")
		if !strings.HasPrefix(line, place) || !strings.Contains(p.Message, part) {
			t.Errorf("problem %d\n got %s\nwant %s: … %s …", i, line, place, part)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, table := range [][]spoiled{topProblems, planProblems, gateProblems, meterProblems, limitProblems, variableProblems} {
		for _, s := range table {
			t.Run(s.name, func(t *testing.T) { checkProblems(t, problemsOf(t, s.document()), s.want) })
		}
	}
}

func TestSyntax(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, doc, want string }{
		{"empty", "", "1 the file is empty: `tidegate init` writes one"},
		{"comments only", "# nothing\n# here\n", "1 the file is empty: `tidegate init`"},
		{"null", "---\n~\n", "1 the file is empty: `tidegate init`"},
		{"a list", "- a\n- b\n", "1 must be a mapping of keys to values, not a list: "},
		{"a word", "hello\n", "1 must be a mapping of keys to values, not the text \"hello\": "},
		{"tab", "plans:\n\tfree: {}\n", "2 not valid YAML: found character that cannot start any token: a tab can't indent"},
		{"indented", "from: a@b.c\nupgrade:\n    url: https://a.b\n  portal: true\n", "4 not valid YAML: did not find expected key: check indentation"},
		{"deeper", "namespace: a\n  from: b\n", "2 not valid YAML: mapping values are not allowed in this context: check the indentation"},
		{"variable in a flow", "namespace: a\nupgrade: {url: ${URL}, portal: true}\n", "2 not valid YAML: did not find expected ',' or '}': inside { } and [ ] a ${VARIABLE} needs quotes"},
		{"bracket", "namespace: a\nplans:\n  free: {stripe: {prices: [a, b}\ngates: []\n", "3 not valid YAML: did not find expected ',' or ']': check indentation, quotes and brackets here and just above"},
		{"open bracket", "namespace: a\nplans: [1,\n  2\n\nfrom: a@b.c\n", "5 not valid YAML: did not find expected ',' or ']' of what begins in line 2: check"},
		{"quote", "namespace: a\nfrom: 'it's'\n", "2 not valid YAML: did not find expected key: check"},
		{"unquoted sign", "namespace: a\nfrom: @acme\n", "2 not valid YAML: found character that cannot start any token: put the value in quotes"},
		{"anchor", "namespace: a\nfrom: x@y.z\nupgrade: *none\n", "3 not valid YAML: unknown anchor 'none' referenced: "},
		{"bytes", "namespace: a\nfrom: \xff\n", "2 not valid YAML: invalid leading UTF-8 octet: "},
		{"control character", "namespace: a\nfrom: \x01\n", "2 not valid YAML: control characters are not allowed: "},
		{"two documents", base + "---\nplans: {}\n", "11 a second document begins here (after ---): a file holds one"},
		{"wrong second document", base + "---\nplans: {\n", "12 not valid YAML: "},
		{"large", strings.Repeat("# filler filler\n", 70_000), "1 the file has 1120000 bytes, at most 1048576 are allowed: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := problemsOf(t, c.doc)
			if len(got) != 1 {
				t.Errorf("got %d problems, want one: %v", len(got), got)
			}
			want := strings.TrimSuffix(c.want, ": ")
			if line := fmt.Sprintf("%d %s", got[0].Line, got[0]); !strings.HasPrefix(line, want) {
				t.Errorf("\n got %s\nwant %s…", line, want)
			}
		})
	}
}

func TestAliasesCannotExplode(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("plans: {free: {default: true}}\ngates:\n  - feature: f\n    condition: &c\n      period: 1d\n      limit: &l\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "        p%d: 1\n", i)
	}
	for i := range 5000 {
		fmt.Fprintf(&b, "  - {feature: f%d, condition: *c}\n", i)
	}
	count := 0
	for _, p := range problemsOf(t, b.String()) {
		if strings.Contains(p.Message, "more than 200000 keys and items") {
			count++
		}
	}
	if count != 1 {
		t.Errorf("the bound is named %d times, want once", count)
	}
}

func TestErrorsFormat(t *testing.T) {
	t.Parallel()
	doc := strings.NewReplacer("30d", "30", "free: 100", "free: -1", "public_url", "publc_url").Replace(base)
	_, err := Parse([]byte(doc), nil)
	want := `tidegate.yaml:1: publc_url: unknown key: did you mean "public_url"?
tidegate.yaml:9: gates[0].condition.limit.free: "-1" must not be negative: a limit is a number, unlimited, or none (not in this plan)
tidegate.yaml:10: gates[0].condition.period: period "30" is none of: month, day, or a number of days from 1d to 3660d`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestProblemsFoundLater: a problem that only the caller can see also gets a line.
func TestProblemsFoundLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.yaml")
	text := "plans: {free: {default: true}}\nmail:\n  templates: ./none\ngates:\n  - feature: api\n    condition: {limit: {free: 1}, period: 1d}\n" +
		"    action:\n      upgrade_prompt:\n        template: nudge\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	const template, provider = "gates[0].action.upgrade_prompt.template", "gates[0].action.upgrade_prompt.provider"
	got := c.Refuse([]Problem{c.Problem(template, "a"), c.Problem(provider, "b"), c.Problem("mail.templates", "c"), c.Problem("from", "d")}).Error()
	want := strings.ReplaceAll("F:1: from: d\nF:3: mail.templates: c\nF:8: "+provider+": b\nF:9: "+template+": a", "F", path)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
