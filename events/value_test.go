package events

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var billion = big.NewInt(nanosPerUnit)

// nanos returns v in billionths, exactly.
func nanos(v Value) *big.Int {
	n := new(big.Int).Mul(big.NewInt(v.Units), billion)
	return n.Add(n, big.NewInt(int64(v.Nanos)))
}

func fromNanos(n *big.Int) (Value, bool) {
	u, m := new(big.Int).DivMod(n, billion, new(big.Int)) // Euclidean: m is never negative
	return Value{Units: u.Int64(), Nanos: int32(m.Int64())}, u.IsInt64()
}

func values() *rapid.Generator[Value] {
	units := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3),
		rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, -1, 0, math.MaxInt64 - 1, math.MaxInt64}))
	return rapid.Custom(func(t *rapid.T) Value {
		v := Value{Units: units.Draw(t, "units")}
		v.Nanos = rapid.OneOf(rapid.Just(int32(0)), rapid.Int32Range(0, nanosPerUnit-1),
			rapid.SampledFrom([]int32{1, 500_000_000, nanosPerUnit - 1})).Draw(t, "nanos")
		return v
	})
}

func TestValueArithmeticIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := values().Draw(t, "a"), values().Draw(t, "b")
		if got, want := a.Cmp(b), nanos(a).Cmp(nanos(b)); got != want {
			t.Fatalf("%v.Cmp(%v) = %d, want %d", a, b, got, want)
		}
		if a.Sign() != nanos(a).Sign() {
			t.Fatalf("%v.Sign() = %d", a, a.Sign())
		}
		if m := a.Max(b); m.Cmp(a) < 0 || m.Cmp(b) < 0 || m != a && m != b {
			t.Fatalf("%v.Max(%v) = %v", a, b, m)
		}
		want, fits := fromNanos(new(big.Int).Add(nanos(a), nanos(b)))
		sum, err := a.Add(b)
		if fits != (err == nil) || fits && sum != want || !fits && (!errors.Is(err, ErrOverflow) || sum != a) {
			t.Fatalf("%v + %v = %v, %v; want %v (fits: %t)", a, b, sum, err, want, fits)
		}
		want, fits = fromNanos(new(big.Int).Sub(nanos(a), nanos(b)))
		if !fits && a.Sign() >= 0 {
			want = Value{Units: math.MaxInt64}
		} else if !fits {
			want = Value{Units: math.MinInt64}
		}
		if got := a.Sub(b); got != want {
			t.Fatalf("%v - %v = %v, want %v", a, b, got, want)
		}
	})
}

func TestPercentRoundsDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values().Filter(func(v Value) bool { return v.Units >= 0 }).Draw(t, "v")
		p := rapid.IntRange(0, 100).Draw(t, "p")
		n := new(big.Int).Mul(nanos(v), big.NewInt(int64(p)))
		want, _ := fromNanos(n.Div(n, big.NewInt(100)))
		if got := v.Percent(p); got != want {
			t.Fatalf("%d%% of %v = %v, want %v", p, v, got, want)
		}
	})
}

func TestValuesSurviveTextAndJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values().Draw(t, "v")
		back, err := ParseValue(v.String())
		if err != nil || back != v {
			t.Fatalf("%+v → %s → %+v, %v", v, v, back, err)
		}
		b, err := json.Marshal(v)
		if err != nil || json.Unmarshal(b, &back) != nil || back != v {
			t.Fatalf("%+v → %s → %+v, %v", v, b, back, err)
		}
		if whole := b[0] != '"'; whole != (v.Nanos == 0) {
			t.Fatalf("%v is written as %s", v, b)
		}
		r, ok := new(big.Rat).SetString(v.String())
		if want := new(big.Rat).SetFrac(nanos(v), billion); !ok || r.Cmp(want) != 0 {
			t.Fatalf("%+v is written as %s", v, v)
		}
	})
}

func TestParseValue(t *testing.T) {
	for s, want := range map[string]Value{
		"0": {}, "-0": {}, "0.0": {}, "3": {Units: 3}, "0.25": {Nanos: 250_000_000}, "-0.5": {Units: -1, Nanos: 500_000_000},
		"1e3": {Units: 1000}, "1.5E+2": {Units: 150}, "25e-2": {Nanos: 250_000_000}, "1e-9": {Nanos: 1}, "0.000000001": {Nanos: 1},
		"1.000000000000": {Units: 1}, "0e9": {}, "123.456e3": {Units: 123456}, "9223372036854775807": {Units: math.MaxInt64},
		"-9223372036854775808": {Units: math.MinInt64}, "9223372036854775807.999999999": {Units: math.MaxInt64, Nanos: 999_999_999},
		"-9223372036854775807.5": {Units: math.MinInt64, Nanos: 500_000_000},
	} {
		if got, err := ParseValue(s); err != nil || got != want {
			t.Errorf("ParseValue(%q) = %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range badNumbers {
		if got, err := ParseValue(s); !errors.Is(err, ErrValue) {
			t.Errorf("ParseValue(%q) = %+v, %v", s, got, err)
		}
		if got, err := RoundValue(s); !errors.Is(err, ErrValue) {
			t.Errorf("RoundValue(%q) = %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"1e-31", "1e-10", "0.0000000001", "9223372036854775806.9999999999"} {
		if got, err := ParseValue(s); !errors.Is(err, ErrValue) {
			t.Errorf("ParseValue(%q) = %+v, %v", s, got, err)
		}
	}
}

var badNumbers = []string{"", "-", ".", "1.", ".5", "+1", "--1", "1e", "e1", "1e+", "1e1.5", "1_000", "1,5", " 1", "1 ", "0x10", "NaN",
	"Infinity", "-Inf", "1e31", "9223372036854775808", "-9223372036854775808.5", "1e19", "٣", "1e١", "1e99999999999999999999",
	"9223372036854775807.9999999995", "1e-", "1e--1", "1e+-1", "1-", "1.-5"}

func TestRoundValue(t *testing.T) {
	for s, want := range map[string]string{
		"0.0000000004999": "0", "0.0000000005": "0", "0.00000000050000000000000000000001": "0.000000001", "0.0000000015": "0.000000002",
		"0.0000000025": "0.000000002", "-0.0000000005": "0", "-0.0000000015": "-0.000000002", "1e-400": "0", "-1e-400": "0",
		"5e-10": "0", "15e-10": "0.000000002", "0.9999999996": "1", "-0.9999999996": "-1", "1e-99999999999999999999": "0", "0e99999999999999999999": "0",
		"1.00000000000000000000000000000000000000001": "1", "12345678901234567890e-10": "1234567890.123456789",
		strings.Repeat("0", 1000) + "7": "7", "0." + strings.Repeat("0", 60_000) + "1": "0", "1" + strings.Repeat("0", 400) + "e-400": "1",
		"9223372036854775807.9999999994": "9223372036854775807.999999999", "-9223372036854775808.0000000005": "-9223372036854775808",
	} {
		if got, err := RoundValue(s); err != nil || got.String() != want {
			t.Errorf("RoundValue(%.80q) = %s, %v; want %s", s, got, err, want)
		}
	}
}

// TestRoundingIsThatOfExactNumbers compares with math/big.
func TestRoundingIsThatOfExactNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`-?[0-9]{1,25}(\.[0-9]{0,12}(5|0{5,30}|9{5,30}|[0-9]{1,30}))?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		compareRounding(t, s)
	})
}

func compareRounding(t fataler, s string) {
	t.Helper()
	exact, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q is no number", s)
	}
	scaled := exact.Mul(exact, new(big.Rat).SetInt(billion))
	rest := new(big.Int)
	n, _ := new(big.Int).DivMod(scaled.Num(), scaled.Denom(), rest) // towards minus infinity
	isExact := rest.Sign() == 0
	if half := rest.Lsh(rest, 1).Cmp(scaled.Denom()); half > 0 || half == 0 && n.Bit(0) == 1 {
		n.Add(n, big.NewInt(1))
	}
	want, fits := fromNanos(n)
	got, err := RoundValue(s)
	if fits != (err == nil) || fits && got != want {
		t.Fatalf("RoundValue(%q) = %+v, %v; want %+v (fits: %t)", s, got, err, want, fits)
	}
	if got, err := ParseValue(s); (err == nil) != (fits && isExact) || err == nil && got != want {
		t.Fatalf("ParseValue(%q) = %+v, %v; exact: %t", s, got, err, isExact)
	}
}

func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"0", "-0.5", "1e3", "25e-2", "9223372036854775807.999999999", "-9223372036854775808", "1e-9", "NaN", "1e31"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := RoundValue(s); err == nil && !hugeExponent.MatchString(s) {
			compareRounding(t, s)
		}
	})
}

var hugeExponent = regexp.MustCompile(`[eE][+-]?[0-9]{4,}$`) // which math/big would write out
