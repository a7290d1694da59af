package refetch

import (
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/kept"
	"github.com/tidegate-io/tidegate/internal/wire"
)

func TestRecordsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	kept.Check(t, "format1/record",
		func() ([]byte, error) { return wire.Marshal(kept.Sample[record]()) },
		func(b []byte) (any, error) {
			var r record
			return &r, wire.Unmarshal(b, &r)
		})
}
