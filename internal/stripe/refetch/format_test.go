package refetch

import (
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/kept"
	"github.com/tidegate-io/tidegate/internal/wire"
)

func TestRecordsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	kept.CheckStruct[record](t, "format1/record", wire.Marshal, wire.Unmarshal)
}
