package aggregator

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestExpiryMissesNothing checks that looking only at the scheduled windows has the
// same result as looking at all.
func TestExpiryMissesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f, all := newTestFolder(t, catalogOfAllKinds()), newTestFolder(t, catalogOfAllKinds())
		for _, m := range script(rt) {
			f.play([]message{m})
			all.expiries = nil
			all.play([]message{m})
			if d := difference(rt, f.state, all.state); d != "" {
				rt.Fatal(d)
			}
		}
		if !bytes.Equal(marshal(t, decoded(t, f.state)), marshal(t, decoded(t, all.state))) { // with closed windows
			rt.Fatal("the states differ")
		}
	})
}
