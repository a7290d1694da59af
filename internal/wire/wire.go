// Package wire encodes and decodes the binary records of the roles: commits,
// snapshots and the stream WINDOWS. The encoding is deterministic CBOR, so equal
// values have equal bytes. Its functions are safe for concurrent use.
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
		panic(err) // the options are constant
	}
	return v
}

// Marshal encodes v.
func Marshal(v any) ([]byte, error) { return enc.Marshal(v) }

// Unmarshal decodes b into v, which must be a pointer.
func Unmarshal(b []byte, v any) error {
	if err := dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("a record that this version cannot read: %w", err)
	}
	return nil
}

// Totals encodes the message of the stream WINDOWS with these totals.
func Totals(ts []records.WindowTotal) ([]byte, error) { return Marshal(ts) }

// ParseTotals decodes a message of the stream WINDOWS.
func ParseTotals(b []byte) (ts []records.WindowTotal, err error) {
	err = Unmarshal(b, &ts)
	return ts, err
}
