package notifier

import (
	"testing"

	testdata "github.com/tidegate-io/tidegate/internal/test/kept"
	"github.com/tidegate-io/tidegate/internal/wire"
)

func TestRecordsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	testdata.CheckStruct[facts](t, "format1/record", wire.Marshal, wire.Unmarshal)
}
