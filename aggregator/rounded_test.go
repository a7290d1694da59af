package aggregator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// TestValuesOfManyDecimalsAreRounded: each of them was accepted, so it must count.
func TestValuesOfManyDecimalsAreRounded(t *testing.T) {
	t.Parallel()
	f := newTestFolder(t, catalogOfOneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	for i, n := range []string{"0.0000000004999", "1e-400", "1." + strings.Repeat("0", 39) + "1", "0.0000000015", `"0.0000000015"`, "-1e-400", "2"} {
		e := event(fmt.Sprint(i), "use", 0, time.Time{})
		e.Data = []byte(`{"n":` + n + `}`)
		f.sendBatch(epoch, e)
	}
	var got events.Value
	for u := range f.customers.find("acme").windows {
		got = u.used
	}
	if want, _ := events.ParseValue("3.000000004"); got != want {
		t.Errorf("used %s, want %s", got, want)
	}
}
