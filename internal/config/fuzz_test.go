package config

import (
	"errors"
	"testing"
)

// FuzzParse: no bytes cause a panic, an error says why and where, and an accepted
// catalog has one default plan.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(ExampleYAML))
	for _, table := range [][]spoiled{topProblems, planProblems, gateProblems, meterProblems, limitProblems, variableProblems} {
		for _, s := range table {
			f.Add([]byte(s.document()))
		}
	}
	f.Add([]byte("a: &a [*a]\nplans: *a\n"))
	f.Add([]byte("&a {plans: *a, gates: [*a]}\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, environment)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if d := c.Catalog().Plans; len(d) == 0 {
			t.Fatal("accepted without plans")
		}
		defaults := 0
		for _, p := range c.Plans {
			if p.Default {
				defaults++
			}
		}
		if defaults != 1 {
			t.Fatalf("accepted with %d default plans", defaults)
		}
		for _, g := range c.Gates {
			if g.Feature == "" || g.Meter.Event == "" || g.Window.Length() <= 0 || g.Message == "" {
				t.Fatalf("accepted an incomplete gate: %+v", g)
			}
			if c.Retention.Usage < c.Retention.Horizon+longest(g.Window) {
				t.Fatalf("accepted a retention of %v", c.Retention)
			}
			for _, l := range g.Limits {
				if l.Value.Sign() < 0 {
					t.Fatalf("accepted the limit %v", l)
				}
			}
		}
		if len(c.Digest()) != 32 {
			t.Fatalf("digest %q", c.Digest())
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	var errs *Errors
	if !errors.As(err, &errs) || len(errs.Problems) == 0 {
		t.Fatalf("refused without problems: %v", err)
	}
	last := 0
	for _, p := range errs.Problems {
		if p.Message == "" || p.Line < max(last, 1) {
			t.Fatalf("problem %+v after line %d", p, last)
		}
		last = p.Line
	}
}
