package records

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/tidegate-io/tidegate/events"
)

// TestADeadLetterFitsIntoAMessage: a server accepts messages up to 1 MiB.
func TestADeadLetterFitsIntoAMessage(t *testing.T) {
	for _, n := range []int{0, 1, events.MaxBatchBytes, events.MaxBatchBytes + 1, 1 << 20} {
		body := bytes.Repeat([]byte{'x'}, n)
		b, err := json.Marshal(&Dead{Origin: "USAGE/1/0", Reason: "r", Body: body})
		if err != nil || len(b) > 900<<10 {
			t.Fatalf("%d bytes became %d, %v", n, len(b), err)
		}
		var d Dead
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		if want := min(n, events.MaxBatchBytes); len(d.Body) != want || d.Truncated != (n > want) {
			t.Errorf("%d bytes: %d are left, truncated %v", n, len(d.Body), d.Truncated)
		}
	}
}
