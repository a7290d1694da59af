package fold

import (
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/kept"
)

func TestRecordsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	kept.Check(t, "format1/record",
		func() ([]byte, error) { return encoding.Marshal(kept.Sample[delta]()) },
		func(b []byte) (any, error) {
			var d delta
			return &d, decoding.Unmarshal(b, &d)
		})
}
