package config

import (
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"

	"pgregory.net/rapid"
)

func TestLimitForms(t *testing.T) {
	t.Parallel()
	count, sum := gate.Meter{Aggregate: gate.Count}, gate.Meter{Aggregate: gate.Sum}
	for _, c := range []struct {
		text  string
		meter gate.Meter
		want  string
	}{
		{"0", count, "0"}, {"100", count, "100"}, {"10_000", count, "10000"}, {"1e3", count, "1000"}, {"2.0", count, "2"},
		{"9223372036854775807", count, "9223372036854775807"}, {"9.3e18", count, ""}, {"0.5", count, ""},
		{"0.5", sum, "0.5"}, {".5", sum, "0.5"}, {"0.123456789", sum, "0.123456789"}, {"1.50", sum, "1.5"}, {"0.0000000001", sum, ""},
		{"unlimited", count, "unlimited"}, {".inf", count, "unlimited"}, {"+.Inf", count, "unlimited"}, {"none", count, "none"}, {`"none"`, count, "none"},
		{"${NONE:-unlimited}", count, "unlimited"}, {`"${NONE:-7}"`, count, "7"}, {`"${LIMIT}"`, count, "250"}, {"${LIMIT}_000", count, "250000"},
		{"-0", count, ""}, {"01", count, ""}, {"1__0", count, "10"}, {"1_", count, ""}, {`".inf"`, count, ""}, {"infinity", count, ""}, {"NaN", sum, ""},
		{"10000", gate.Meter{Aggregate: gate.Unique, Cap: 10_000}, "10000"}, {"10001", gate.Meter{Aggregate: gate.Unique, Cap: 10_000}, ""},
		{"20", gate.Meter{Aggregate: gate.Unique, Cap: 19}, ""}, {"0.5", gate.Meter{Aggregate: gate.Max}, "0.5"},
	} {
		d := &decoder{env: environment}
		top := d.document([]byte("v: " + c.text + "\n"))
		f := field{d: d, node: top.node.Content[1], line: 1, path: "v"}
		got, ok := f.limit(c.meter)
		switch {
		case ok != (c.want != "") || ok != (len(d.problems) == 0):
			t.Errorf("%s of %s: accepted: %v, problems %v", c.text, c.meter.Aggregate, ok, d.problems)
		case ok && got.String() != c.want:
			t.Errorf("%s of %s is %s, want %s", c.text, c.meter.Aggregate, got, c.want)
		}
	}
}

// TestLimitsAreExact: every value that can be a limit is read exactly.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := events.Value{Units: rapid.Int64Min(0).Draw(t, "units"), Nanos: rapid.Int32Range(0, 999_999_999).Draw(t, "nanos")}
		got, problem := number(v.String(), gate.Meter{Aggregate: gate.Sum})
		if problem != "" || got != v {
			t.Fatalf("%s was read as %s %s", v, got, problem)
		}
	})
}
