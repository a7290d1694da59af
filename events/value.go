package events

import (
	"bytes"
	"errors"
	"fmt"
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
	// ErrValue is returned for a text that is not a decimal number within ±9.2e18 or, where
	// nothing is rounded, has more than nine decimal places.
	ErrValue = errors.New("not a number within ±9.2e18")
	// ErrOverflow is returned when a sum is out of that range.
	ErrOverflow = errors.New("the sum exceeds 9.2e18")
)

var errPlaces = fmt.Errorf("%w of at most 9 decimal places", ErrValue)

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
// any other text, also for NaN and infinities, and for more than nine decimal places.
func ParseValue(s string) (Value, error) {
	v, exact, ok := readDecimal(s)
	switch {
	case !ok:
		return Value{}, ErrValue
	case !exact:
		return Value{}, errPlaces
	}
	return v, nil
}

// RoundValue reads a JSON number of any length to the nearest billionth, and to the even
// one between two. It returns ErrValue for any other text, and out of the range.
func RoundValue(s string) (Value, error) {
	v, _, ok := readDecimal(s)
	if !ok {
		return Value{}, ErrValue
	}
	return v, nil
}

// decimal is the digits of a number; the value is 0.<digits> times ten to the power of
// point.
type decimal struct {
	whole, frac string
	point       int
}

// digit returns the i-th digit; there are zeros before the first and after the last.
func (d *decimal) digit(i int) byte {
	switch {
	case i < 0 || i >= len(d.whole)+len(d.frac):
		return 0
	case i < len(d.whole):
		return d.whole[i] - '0'
	}
	return d.frac[i-len(d.whole)] - '0'
}

// anyFrom reports whether a digit from i on is not 0.
func (d *decimal) anyFrom(i int) bool {
	for i = max(i, 0); i < len(d.whole)+len(d.frac); i++ {
		if d.digit(i) != 0 {
			return true
		}
	}
	return false
}

// readDecimal rounds a number to billionths. exact is false if it has more decimal
// places, and ok if s is no number within the range.
func readDecimal(s string) (v Value, exact, ok bool) {
	mantissa, exp := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if exp, ok = readExponent(s[i+1:]); !ok {
			return v, false, false
		}
		mantissa = s[:i]
	}
	mantissa, neg := strings.CutPrefix(mantissa, "-")
	whole, frac, dot := strings.Cut(mantissa, ".")
	if !allDigits(whole) || dot && !allDigits(frac) {
		return v, false, false
	}
	d := decimal{whole, frac, len(whole) + exp}
	first := 0
	for first < len(whole)+len(frac) && d.digit(first) == 0 {
		first++
	}
	if first == len(whole)+len(frac) {
		return v, true, true
	}
	if d.point-first > 19 {
		return v, false, false
	}
	var u, n uint64
	for i := first; i < d.point; i++ {
		u = u*10 + uint64(d.digit(i))
	}
	for i := d.point; i < d.point+9; i++ {
		n = n*10 + uint64(d.digit(i))
	}
	half, more := d.digit(d.point+9), d.anyFrom(d.point+10)
	if half > 5 || half == 5 && (more || n&1 == 1) {
		if n++; n == nanosPerUnit {
			u, n = u+1, 0
		}
	}
	v, ok = signed(u, n, neg)
	return v, half == 0 && !more, ok
}

// signed returns the value of u units and n billionths; false if it is out of the range,
// which has one more value below zero than above.
func signed(u, n uint64, neg bool) (Value, bool) {
	switch {
	case !neg:
		return Value{Units: int64(u), Nanos: int32(n)}, u <= math.MaxInt64
	case n == 0:
		return Value{Units: -int64(u)}, u <= 1<<63
	}
	return Value{Units: -int64(u) - 1, Nanos: int32(nanosPerUnit - n)}, u <= math.MaxInt64
}

// readExponent reads an exponent; one beyond a billion is as good as a billion.
func readExponent(s string) (n int, ok bool) {
	digits, neg := strings.CutPrefix(s, "-")
	if !neg {
		digits = strings.TrimPrefix(s, "+")
	}
	if !allDigits(digits) {
		return 0, false
	}
	for i := 0; i < len(digits) && n < 1_000_000_000; i++ {
		n = n*10 + int(digits[i]-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

// allDigits reports whether s consists of digits, of one at least.
func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
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
