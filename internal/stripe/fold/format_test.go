package fold

import (
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/kept"
)

func TestRecordsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	kept.CheckStruct[delta](t, "format1/record", encoding.Marshal, decoding.Unmarshal)
}
