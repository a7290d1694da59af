package aggregator

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/wire"
)

// TestSweepsMissNothing: looking where the calendar says does what looking at
// everybody does.
func TestSweepsMissNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, all := newTestFolder(t, everyGate()), newTestFolder(t, everyGate())
		for _, m := range script(rt) {
			f.play([]message{m})
			all.expiries = nil
			all.play([]message{m})
			if d := difference(rt, f.state, all.state); d != "" {
				rt.Fatal(d)
			}
		}
		if !bytes.Equal(marshal(t, decoded(t, f.state)), marshal(t, decoded(t, all.state))) { // closed ones as well
			rt.Fatal("the states differ")
		}
	})
}

// TestRecordsAreEncodedAsTheirStructs, byte by byte: what is decoded by its
// struct and encoded by it again is what it was.
func TestRecordsAreEncodedAsTheirStructs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newTestFolder(t, everyGate())
		f.play(script(rt))
		for c := range f.customers.all {
			var r customerRec
			same(rt, c.append(nil), &r)
			for u := range c.windows {
				for _, whole := range []bool{true, false} {
					var r windowRec
					same(rt, u.append(nil, c, whole), &r)
				}
			}
		}
	})
}

func same(t failer, b []byte, r any) {
	if err := wire.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	if again := marshal(t, r); !bytes.Equal(again, b) {
		t.Fatal("encoded by hand", b, "by the struct", again)
	}
}
