package notifier

import (
	"testing"

	testdata "github.com/tidegate-io/tidegate/internal/test/kept"
	"github.com/tidegate-io/tidegate/internal/wire"
)

func TestRecordsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	testdata.Check(t, "format1/record",
		func() ([]byte, error) { return wire.Marshal(testdata.Sample[facts]()) },
		func(b []byte) (any, error) {
			var r facts
			return &r, wire.Unmarshal(b, &r)
		})
}
