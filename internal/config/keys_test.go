package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// around holds a document for each shape, with the other keys that it needs.
var around = map[string]struct{ before, path string }{
	"":                              {"", ""},
	"upgrade":                       {"upgrade: {", "upgrade"},
	"stripe":                        {"stripe: {", "stripe"},
	"mail":                          {"mail: {", "mail"},
	"mail.quiet_hours":              {"mail: {quiet_hours: {", "mail.quiet_hours"},
	"conversions":                   {"conversions: {", "conversions"},
	"retention":                     {"retention: {", "retention"},
	"decisions":                     {"decisions: {", "decisions"},
	"plans.*":                       {"plans: {free: {", "plans.free"},
	"plans.*.stripe":                {"plans: {free: {stripe: {", "plans.free.stripe"},
	"gates[]":                       {"gates: [{", "gates[0]"},
	"gates[].trigger":               {"gates: [{trigger: {", "gates[0].trigger"},
	"gates[].meter":                 {"gates: [{meter: {", "gates[0].meter"},
	"gates[].condition":             {"gates: [{condition: {", "gates[0].condition"},
	"gates[].action":                {"gates: [{action: {", "gates[0].action"},
	"gates[].action.upgrade_prompt": {"gates: [{action: {upgrade_prompt: {", "gates[0].action.upgrade_prompt"},
	"http":                          {"http: {", "http"},
	"gates[].recovery":              {"gates: [{recovery: {", "gates[0].recovery"},
	"gates[].email_from":            {"gates: [{email_from: {", "gates[0].email_from"},
}

func within(shape, inner string) string {
	doc := around[shape].before + inner
	for i := len(doc) - len(inner) - 1; i >= 0; i-- {
		switch doc[i] {
		case '{':
			doc += "}"
		case '[':
			doc += "]"
		}
	}
	return doc + "\n"
}

// TestEveryKeyIsRead: the decoder reads every key that it knows. It refuses a wrong
// value under the key's own name.
func TestEveryKeyIsRead(t *testing.T) {
	t.Parallel()
	for shape, names := range keys {
		if _, ok := around[shape]; !ok {
			t.Errorf("no document reaches %q", shape)
			continue
		}
		for _, key := range names {
			// Not a text, a number, a list or a known mapping.
			doc := within(shape, key+": !odd 5")
			path := join(around[shape].path, key)
			found := slices.ContainsFunc(problemsOf(t, doc), func(p Problem) bool {
				return p.Field == path && p.Line == 1 && !strings.Contains(p.Message, "unknown")
			})
			if !found {
				t.Errorf("%s is not read in %s", path, doc)
			}
		}
	}
}

// TestSuggestions: every misspelling by one letter is recognised.
func TestSuggestions(t *testing.T) {
	t.Parallel()
	for shape, names := range keys {
		for _, key := range names {
			if len(key) < 4 {
				continue
			}
			wrong := key[:1] + key[2:]
			if slices.Contains(names, wrong) {
				continue
			}
			want := fmt.Sprintf("unknown key: did you mean %q?", key)
			found := slices.ContainsFunc(problemsOf(t, within(shape, wrong+": 1")), func(p Problem) bool {
				return p.Field == join(around[shape].path, wrong) && p.Message == want
			})
			if !found {
				t.Errorf("%q in %q: no problem says %s", wrong, shape, want)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	words := []string{"public_url", "from", "mail", "cool_down"}
	for word, want := range map[string]string{
		"publicUrl": "public_url", "public-url": "public_url", "Public URL": "public_url", "form": "from", "mails": "mail",
		"cooldown": "cool_down", "x": "", "price": "", "": "", "mial": "mail", strings.Repeat("a", 100): "",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
