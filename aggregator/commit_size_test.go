package aggregator

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// TestCommitBufferFitsContent checks that the buffer of a commit is not much too
// large after a commit with many fingerprints of one customer, or with no customer.
func TestCommitBufferFitsContent(t *testing.T) {
	t.Parallel()
	for _, first := range []int{0, 5000} { // events of acme
		p := offline(catalogOfAllKinds(), func() time.Time { return epoch })
		p.begin()
		var es []events.Event
		for i := range first {
			es = append(es, event(fmt.Sprint(i), "use", 1, epoch))
		}
		if first > 0 {
			p.foldEvents(t, epoch, es)
		}
		if _, err := p.Commit(); err != nil {
			t.Fatal(err)
		}
		es = nil
		for i := range 1000 {
			e := event("1", "use", 1, epoch)
			e.Subject = customerName(i)
			es = append(es, e)
		}
		p.foldEvents(t, epoch, es)
		b, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if cap(b) > 4*len(b) {
			t.Errorf("after %d events of one customer: a buffer of %d bytes for %d", first, cap(b), len(b))
		}
	}
}
