// Package wire is the binary form of what the roles keep in logs and tell each
// other: CBOR, encoded deterministically, so that equal states are equal bytes.
package wire

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/tidegate-io/tidegate/internal/records"
)

var (
	enc = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic, Time: cbor.TimeRFC3339Nano}.EncMode())
	dec = must(cbor.DecOptions{MaxArrayElements: 1 << 27, MaxMapPairs: 1 << 27, DefaultByteStringType: nil}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // constant options
	}
	return v
}

// Marshal encodes v.
func Marshal(v any) ([]byte, error) { return enc.Marshal(v) }

// Unmarshal decodes b into the pointer v.
func Unmarshal(b []byte, v any) error {
	if err := dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("a record that this version cannot read: %w", err)
	}
	return nil
}

// Totals encodes what one message of the stream WINDOWS holds.
func Totals(ts []records.WindowTotal) ([]byte, error) { return Marshal(ts) }

// ParseTotals is the inverse of Totals.
func ParseTotals(b []byte) (ts []records.WindowTotal, err error) {
	err = Unmarshal(b, &ts)
	return ts, err
}
