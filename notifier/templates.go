package notifier

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

//go:embed templates
var builtin embed.FS

// DefaultTemplate is the built-in template.
const DefaultTemplate = "upgrade_prompt"

// The parts of a mail by the endings of their files.
const (
	partSubject = ".subject.txt"
	partText    = ".txt"
	partHTML    = ".html"
)

// executor is a template of either kind.
type executor interface {
	Execute(w io.Writer, data any) error
}

// part is one part of a template in one language.
type part struct {
	name   string // of the template, such as upgrade_prompt
	locale string // lower case, such as de or pt-br; "": any
	ending string
}

// templates holds all parts. The operator's replace built-in ones.
type templates map[part]executor

var functions = map[string]any{
	// date writes a day: {{date .UnblocksAt}}.
	"date": func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	// group separates the thousands of a number: {{group "," .Limit}}.
	"group": group,
	"join":  strings.Join,
}

// group separates the digits before a number's point into groups of three.
func group(separator, number string) string {
	whole, rest := number, ""
	if i := strings.IndexAny(number, ".eE"); i >= 0 {
		whole, rest = number[:i], number[i:]
	}
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + separator + whole[i:]
	}
	return sign + whole + rest
}

// loadTemplates reads the built-in templates and those in a folder, which may be ""
// or missing. The error names every wrong file, with the line.
func loadTemplates(dir string) (templates, error) {
	t := templates{}
	inner, err := fs.Sub(builtin, "templates")
	if err != nil {
		return nil, err
	}
	if err := t.add(inner, "built-in "); err != nil || dir == "" {
		return t, err
	}
	switch st, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return t, nil
	case err == nil && !st.IsDir():
		return nil, SettingErrors{{"mail.templates", dir + " is a file: name the folder that the templates are in"}}
	}
	if err := t.add(os.DirFS(dir), dir+string(filepath.Separator)); !errors.Is(err, fs.ErrPermission) {
		return t, err
	}
	return nil, SettingErrors{{"mail.templates", dir + " or a file in it cannot be read: give this user the right to, or name another folder"}}
}

func (t templates) add(files fs.FS, where string) error {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	var problems []error
	for _, e := range entries {
		p, ok := partOf(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		b, err := fs.ReadFile(files, e.Name())
		if err != nil {
			problems = append(problems, err)
			continue
		}
		// The template has the name of its file, for errors.
		x, err := parse(p.ending, where+e.Name(), string(b))
		if err != nil {
			problems = append(problems, tidyError(err))
			continue
		}
		t[p] = x
	}
	return errors.Join(problems...)
}

func parse(ending, file, text string) (executor, error) {
	if ending == partHTML {
		return htmltemplate.New(file).Funcs(functions).Option("missingkey=error").Parse(text)
	}
	return template.New(file).Funcs(functions).Option("missingkey=error").Parse(text)
}

// tidyError reduces an error to file, line and mistake.
func tidyError(err error) error {
	s := err.Error()
	for _, prefix := range []string{"html/template:", "template: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return errors.New(s)
}

// partOf parses a file's name: name[.locale].(html|txt|subject.txt). It returns false
// for other files.
func partOf(file string) (p part, ok bool) {
	for _, ending := range [...]string{partSubject, partText, partHTML} {
		base, found := strings.CutSuffix(file, ending)
		if !found {
			continue
		}
		name, locale, _ := strings.Cut(base, ".")
		if name == "" || strings.Contains(locale, ".") {
			return part{}, false
		}
		return part{name: name, locale: canonicalLocale(locale), ending: ending}, true
	}
	return part{}, false
}

func canonicalLocale(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }

// of returns the name of the template for a gate's mails about a kind of crossing, or
// "" when the gate sends none. Mails about warning levels use <template>_warning, if
// there is one.
func (t templates) of(g *gate.Gate, kind records.LimitKind) string {
	if kind != records.LimitKindThreshold || g.Template == "" {
		return g.Template
	}
	if !g.Warnings || len(g.WarnAt) == 0 {
		return ""
	}
	if w := g.Template + "_warning"; t.has(w) {
		return w
	}
	return g.Template
}

// locales returns the languages in which some part of a template exists. The first is
// always "".
func (t templates) locales(name string) []string {
	found := []string{""}
	for p := range t {
		if (p.name == name || p.name == DefaultTemplate) && !slices.Contains(found, p.locale) {
			found = append(found, p.locale)
		}
	}
	slices.Sort(found)
	return found
}

// has reports whether a template exists, in any language.
func (t templates) has(name string) bool {
	for p := range t {
		if p.name == name && p.ending != partSubject {
			return true
		}
	}
	return false
}

// find returns the part for a language: for pt-BR that for pt-br, or else for pt, or
// else the one without a language, or else the built-in one.
func (t templates) find(name, locale, ending string) executor {
	locale = canonicalLocale(locale)
	for _, name := range [...]string{name, DefaultTemplate} {
		for l := locale; ; l = l[:max(0, strings.LastIndexByte(l, '-'))] {
			if x, ok := t[part{name, l, ending}]; ok {
				return x
			}
			if l == "" {
				break
			}
		}
	}
	return nil
}

// check renders every part with sample data, because most mistakes show only then.
func (t templates) check() error {
	var problems []error
	full := sample("acme", "api")
	sparse := *full // without the optional values
	sparse.Used, sparse.UnblocksAt, sparse.UpgradeURL, sparse.UnsubscribeURL = "", time.Time{}, "", ""
	for _, p := range slices.SortedFunc(maps.Keys(t), func(a, b part) int {
		return strings.Compare(a.name+a.locale+a.ending, b.name+b.locale+b.ending)
	}) {
		for _, d := range [...]*Data{full, &sparse} {
			if err := t[p].Execute(io.Discard, d); err != nil {
				problems = append(problems, tidyError(err))
				break
			}
		}
	}
	return errors.Join(problems...)
}
