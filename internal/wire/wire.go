// Package wire encodes and decodes the binary records of the roles: commits,
// snapshots and the stream WINDOWS. The encoding is deterministic CBOR, so equal
// values have equal bytes. Its functions are safe for concurrent use.
package wire

import (
	"fmt"
	"reflect"
	"slices"

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

// Unmarshal decodes b into v, which must be a pointer. Structs that are encoded as
// arrays may have more or fewer elements in b.
func Unmarshal(b []byte, v any) error {
	err := dec.Unmarshal(b, v)
	if lengthsDiffer(err) {
		var same []byte
		if same, _, err = conform(make([]byte, 0, len(b)+64), b, reflect.TypeOf(v)); err == nil {
			err = dec.Unmarshal(same, v)
		}
	}
	if err != nil {
		return fmt.Errorf("a record that this version cannot read: %w", err)
	}
	return nil
}

// Totals encodes the message of the stream WINDOWS with these totals.
func Totals(ts []records.WindowTotal) ([]byte, error) {
	b, err := Marshal(ts)
	return slices.Concat(beforeTotals, b), err
}

// ParseTotals decodes a message of the stream WINDOWS. It returns an events.ErrFormat for one
// of a newer version.
func ParseTotals(b []byte) (ts []records.WindowTotal, err error) {
	if b, err = unseal("a message of WINDOWS", totalsFormat, b); err == nil {
		err = Unmarshal(b, &ts)
	}
	return ts, err
}
