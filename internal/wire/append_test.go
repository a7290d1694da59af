package wire

import (
	"bytes"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAppendEqualsMarshal compares the bytes for every kind of value.
func TestAppendEqualsMarshal(t *testing.T) {
	t.Parallel()
	same := func(t *rapid.T, v any, got []byte) {
		want, err := Marshal(v)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v: %x, want %x (%v)", v, got, want, err)
		}
	}
	edges := []uint64{0, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64, math.MaxUint64}
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.OneOf(rapid.SampledFrom(edges), rapid.Uint64()).Draw(t, "u")
		same(t, u, AppendUint(nil, u))
		same(t, int64(u), AppendInt(nil, int64(u)))
		s := rapid.String().Draw(t, "s")
		same(t, s, AppendText(nil, s))
		same(t, u%2 == 0, AppendBool(nil, u%2 == 0))
		same(t, []int(nil), AppendNil(nil))
		at := time.Unix(int64(u%253402300800), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		same(t, at, AppendTime(nil, at))
		same(t, time.Time{}, AppendTime(nil, time.Time{}))
		list := rapid.SliceOfN(rapid.Int64(), 0, 300).Draw(t, "list")
		b, open := AppendArray(nil, len(list)), BeginList(nil)
		for _, v := range list {
			b, open = AppendInt(b, v), AppendInt(open, v)
		}
		same(t, list, b)
		EndList(open, 0, len(list))
		var back []int64
		if err := Unmarshal(open, &back); err != nil || len(back) != len(list) {
			t.Fatalf("%x: %v, want %v (%v)", open, back, list, err)
		}
	})
}
