package aggregator

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/wire"
)

// TestHandEncodingMatchesStructs decodes customers and windows into their structs
// and checks that wire.Marshal gives the same bytes again.
func TestHandEncodingMatchesStructs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := newTestFolder(t, catalogOfAllKinds())
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
		t.Fatal("encoded by hand", b, "by wire.Marshal", again)
	}
}
