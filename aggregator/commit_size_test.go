package aggregator

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// TestACommitTakesTheRoomThatItNeeds, whatever the one before was like: much of
// one customer, or the configuration of nobody.
func TestACommitTakesTheRoomThatItNeeds(t *testing.T) {
	for _, first := range []int{0, 5000} { // events of acme
		p := offline(everyGate(), func() time.Time { return epoch })
		p.begin()
		var es []events.Event
		for i := range first {
			es = append(es, event(fmt.Sprint(i), "use", 1, epoch))
		}
		if first > 0 {
			p.fold(t, epoch, es)
		}
		if _, err := p.Commit(); err != nil {
			t.Fatal(err)
		}
		es = nil
		for i := range 1000 {
			e := event("1", "use", 1, epoch)
			e.Subject = benchCustomer(i)
			es = append(es, e)
		}
		p.fold(t, epoch, es)
		b, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if cap(b) > 4*len(b) {
			t.Errorf("after %d events of one customer: room for %d bytes, %d used", first, cap(b), len(b))
		}
	}
}
