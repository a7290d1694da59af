package events

import (
	"bytes"
	"errors"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Value is an exact amount of usage: Units plus Nanos billionths, with Nanos in
// [0, 1e9). Whole values have no Nanos. A negative value has negative Units and
// Nanos that are added (-0.5 is {-1, 500000000}).
type Value struct {
	_     struct{} `cbor:",toarray"`
	Units int64
	Nanos int32
}

// Errors of arithmetic on values.
var (
	// ErrValue is returned for a text that is not a decimal number with at most nine
	// decimal places within ±9.2e18.
	ErrValue = errors.New("not a number of at most 9 decimal places within ±9.2e18")
	// ErrOverflow is returned when a sum is out of that range.
	ErrOverflow = errors.New("the sum exceeds 9.2e18")
)

const nanosPerUnit = 1_000_000_000

// Count returns a whole value.
func Count(n int64) Value { return Value{Units: n} }

// Add returns v + o, or ErrOverflow.
func (v Value) Add(o Value) (Value, error) {
	n := int64(v.Nanos) + int64(o.Nanos)
	less, more := min(v.Units, o.Units), max(v.Units, o.Units)
	if n >= nanosPerUnit {
		if less == math.MaxInt64 {
			return v, ErrOverflow
		}
		n -= nanosPerUnit
		less++ // not the sum: it may overflow, and the result still be in range
	}
	u := less + more
	if (u > less) != (more > 0) {
		return v, ErrOverflow
	}
	return Value{Units: u, Nanos: int32(n)}, nil
}

// Sub returns v - o, or the end of the range when that is out of range.
func (v Value) Sub(o Value) Value {
	n := int64(v.Nanos) - int64(o.Nanos)
	borrow := int64(0)
	if n < 0 {
		n += nanosPerUnit
		borrow = 1
	}
	u := v.Units - o.Units - borrow
	if (v.Units >= 0) != (o.Units >= 0) && (u >= 0) != (v.Units >= 0) {
		if v.Units >= 0 {
			return Value{Units: math.MaxInt64}
		}
		return Value{Units: math.MinInt64}
	}
	return Value{Units: u, Nanos: int32(n)}
}

// Cmp returns -1, 0 or 1 when v is less than, equal to or greater than o.
func (v Value) Cmp(o Value) int {
	switch {
	case v.Units < o.Units:
		return -1
	case v.Units > o.Units:
		return 1
	case v.Nanos < o.Nanos:
		return -1
	case v.Nanos > o.Nanos:
		return 1
	}
	return 0
}

// Sign returns -1, 0 or 1.
func (v Value) Sign() int { return v.Cmp(Value{}) }

// Percent returns p percent of v, rounded down to a billionth. v must not be negative,
// and p must be from 0 to 100.
func (v Value) Percent(p int) Value {
	hi, lo := bits.Mul64(uint64(v.Units), uint64(p))
	u, rest := bits.Div64(hi, lo, 100)
	n := (rest*nanosPerUnit + uint64(v.Nanos)*uint64(p)) / 100
	return Value{Units: int64(u + n/nanosPerUnit), Nanos: int32(n % nanosPerUnit)}
}

// Max returns the greater of v and o.
func (v Value) Max(o Value) Value {
	if v.Cmp(o) < 0 {
		return o
	}
	return v
}

// String returns the shortest decimal form: "812", "0.25", "-1.5".
func (v Value) String() string {
	if v.Nanos == 0 {
		return strconv.FormatInt(v.Units, 10)
	}
	sign, u, n := "", v.Units, v.Nanos
	if u < 0 { // -0.5 is {-1, 0.5}
		sign, u, n = "-", -(u + 1), nanosPerUnit-n
	}
	frac := strconv.FormatInt(nanosPerUnit+int64(n), 10)[1:]
	return sign + strconv.FormatInt(u, 10) + "." + strings.TrimRight(frac, "0")
}

// ParseValue reads a JSON number ("3", "0.25", "1e3") exactly. It returns ErrValue for
// any other text, also for NaN and infinities.
func ParseValue(s string) (Value, error) {
	if len(s) > 64 {
		return Value{}, ErrValue
	}
	mantissa, exp := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.Atoi(s[i+1:])
		if err != nil || n > 30 || n < -30 {
			return Value{}, ErrValue
		}
		mantissa, exp = s[:i], n
	}
	neg := strings.HasPrefix(mantissa, "-")
	whole, frac, dot := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	if whole == "" || dot && frac == "" {
		return Value{}, ErrValue
	}
	digits := whole + frac
	point := len(whole) + exp // index of the decimal point in digits
	for ; point < 0; point++ {
		digits = "0" + digits
	}
	for len(digits) < point {
		digits += "0"
	}
	u, err := parseDigits(digits[:point], neg)
	if err != nil {
		return Value{}, err
	}
	rest := strings.TrimRight(digits[point:], "0")
	if len(rest) > 9 {
		return Value{}, ErrValue
	}
	n, err := parseDigits(rest+"000000000"[len(rest):], false)
	if err != nil {
		return Value{}, err
	}
	if neg && n > 0 {
		if u == math.MinInt64 {
			return Value{}, ErrValue
		}
		u, n = u-1, nanosPerUnit-n
	}
	return Value{Units: u, Nanos: int32(n)}, nil
}

func parseDigits(s string, neg bool) (int64, error) {
	if s == "" {
		return 0, nil
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, ErrValue
		}
	}
	if neg {
		s = "-" + s // the range has one more value below zero than above
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, ErrValue
	}
	return n, nil
}

// MarshalJSON writes a whole value as a number, and any other value as a decimal
// string, so that no reader rounds it.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Nanos == 0 {
		return strconv.AppendInt(nil, v.Units, 10), nil
	}
	return []byte(`"` + v.String() + `"`), nil
}

// UnmarshalJSON reads both forms.
func (v *Value) UnmarshalJSON(b []byte) error {
	p, err := ParseValue(string(bytes.Trim(b, `"`)))
	if err == nil {
		*v = p
	}
	return err
}

// NullValue is a value that may be absent: JSON null. As a limit, absent means
// unlimited; as used, unknown.
type NullValue struct {
	_ struct{} `cbor:",toarray"`
	Value
	Valid bool
}

// Some returns a value that is not absent.
func Some(v Value) NullValue { return NullValue{Value: v, Valid: true} }

// MarshalJSON writes null when the value is absent.
func (v NullValue) MarshalJSON() ([]byte, error) {
	if !v.Valid {
		return []byte("null"), nil
	}
	return v.Value.MarshalJSON()
}

// UnmarshalJSON reads a value or null.
func (v *NullValue) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*v = NullValue{}
		return nil
	}
	v.Valid = true
	return v.Value.UnmarshalJSON(b)
}

// String returns the value, or "unlimited" when it is absent.
func (v NullValue) String() string {
	if !v.Valid {
		return "unlimited"
	}
	return v.Value.String()
}
