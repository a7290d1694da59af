package config

import (
	"fmt"
	"strings"
	"testing"
)

func parsed(t *testing.T, doc string, env map[string]string) *Config {
	t.Helper()
	c, err := Parse([]byte(doc), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const writtenDoc = `public_url: https://${HOST}
plans: {free: {default: true}, pro: {stripe: {prices: [price_1, "${PRICE}"]}}}
gates:
  - {feature: api, condition: {limit: {free: 1_000}, period: 30d}}
  - {feature: tokens, meter: {aggregate: sum, value: $.n}, condition: {limit: {free: 5}, period: day}}
`

func TestWrittenNamesValuesAndHidesVariables(t *testing.T) {
	t.Parallel()
	w := parsed(t, writtenDoc, map[string]string{"HOST": "hunter2.example", "PRICE": "price_secret"}).Written()
	for path, text := range map[string]string{
		"public_url": "https://${HOST}", "plans.free.default": "true", "plans.pro.stripe.prices[0]": "price_1",
		"plans.pro.stripe.prices[1]": "${PRICE}", "gates.api.feature": "api", "gates.api.condition.limit.free": "1_000",
		"gates.tokens.meter.value": "$.n", "gates.tokens.condition.period": "day",
	} {
		if w[path].Text != text {
			t.Errorf("%s: %+v, want %q", path, w[path], text)
		}
	}
	for path, s := range w {
		if strings.Contains(path+fmt.Sprint(s), "hunter2") || strings.Contains(fmt.Sprint(s), "secret") {
			t.Errorf("%s shows a variable's value: %+v", path, s)
		}
		if (s.Digest != "") != strings.Contains(s.Text, "${") {
			t.Errorf("%s: %+v", path, s)
		}
	}
}

func TestWrittenTellsValuesOfVariablesApart(t *testing.T) {
	t.Parallel()
	one := parsed(t, writtenDoc, map[string]string{"HOST": "one.example", "PRICE": "p"}).Written()
	same := parsed(t, writtenDoc, map[string]string{"HOST": "one.example", "PRICE": "p"}).Written()
	other := parsed(t, writtenDoc, map[string]string{"HOST": "two.example", "PRICE": "p"}).Written()
	if fmt.Sprint(one) != fmt.Sprint(same) {
		t.Errorf("%v\n%v", one, same)
	}
	if one["public_url"] == other["public_url"] || one["plans.pro.stripe.prices[1]"] != other["plans.pro.stripe.prices[1]"] {
		t.Errorf("%v\n%v", one, other)
	}
}

// Gates are named by their features, wherever they stand.
func TestWrittenKnowsNoOrder(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter(writtenDoc, "\n")
	lines[3], lines[4] = lines[4], lines[3]
	env := map[string]string{"HOST": "x.example", "PRICE": "p"}
	if a, b := parsed(t, writtenDoc, env).Written(), parsed(t, strings.Join(lines, ""), env).Written(); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("%v\n%v", a, b)
	}
}
