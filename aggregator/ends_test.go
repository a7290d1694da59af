package aggregator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// ending is an owner whose windows of seven days end at `end`.
func startBeforeEnd(t *testing.T, now time.Time) (d *documentOwner, end time.Time) {
	d = &documentOwner{store: &memoryStore{docs: map[string]records.Window{}}, now: now}
	d.takeOver(t, 1)
	return d, epoch.Add(7 * day)
}

func (d *documentOwner) handle(t *testing.T, at time.Time, es ...events.Event) {
	m := &stream.Message{Subject: "usage.p.0." + events.BatchToken, Data: batchOf(es), Seq: d.f.position + 1, Time: at}
	if err := d.Handle(m); err != nil {
		t.Fatal(err)
	}
	d.emissions, d.earlyTotals = nil, nil // flushed
}

// quiet lets documents be written.
func (d *documentOwner) letWrite(t *testing.T) {
	for range 5 {
		d.commit(t)
		d.wait(2 * time.Second)
	}
}

func (d *documentOwner) takeOverAt(t *testing.T, now time.Time) {
	d.stop()
	synctest.Wait()
	d.now = now
	d.takeOver(t, d.o.Epoch+1)
}

func (d *documentOwner) wantEnded(t *testing.T) {
	t.Helper()
	d.letWrite(t)
	if w := d.mismatch(); w != "" {
		t.Error(w)
	}
	d.stop()
}

func (d *documentOwner) setAway(away bool) {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.away = away
}

func TestADocumentSaysThatItsWindowEndedThoughTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, end := startBeforeEnd(t, epoch)
		d.setAway(true)
		d.handle(t, epoch, event("1", "use", 1, epoch))
		d.letWrite(t)
		d.now = end.Add(time.Minute)
		d.wait(time.Second) // the end is found
		d.now = end.Add(-time.Hour)
		d.setAway(false)
		d.letWrite(t)
		d.now = end.Add(2 * time.Hour)
		d.wantEnded(t)
	})
}

func TestADocumentSaysThatItsWindowEndedThoughAFormerOwnersClockRanAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, end := startBeforeEnd(t, epoch)
		d.handle(t, epoch, event("1", "use", 1, epoch))
		d.now = end.Add(time.Hour)
		d.letWrite(t)
		other := event("1", "use", 1, epoch)
		other.Subject = "other"
		d.handle(t, epoch, other) // so that the end is in a commit
		d.letWrite(t)
		d.takeOverAt(t, end.Add(-time.Hour))
		d.handle(t, end.Add(-time.Hour), event("2", "use", 1, epoch))
		d.letWrite(t)
		d.takeOverAt(t, end.Add(time.Minute))
		d.wantEnded(t)
	})
}

// TestADocumentSaysThatItsWindowHasBegun: the clock of its sender ran ahead.
func TestADocumentSaysThatItsWindowHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, end := startBeforeEnd(t, epoch)
		d.handle(t, epoch, event("1", "use", 1, epoch))
		d.letWrite(t)
		d.now = end.Add(-time.Minute)
		d.handle(t, d.now, event("2", "use", 1, end.Add(time.Second)))
		d.letWrite(t)
		d.now = end.Add(2 * time.Hour)
		d.wantEnded(t)
	})
}

// TestAWindowIsKeptUntilItsDocumentSaysThatItEnded: nobody ran for as long as
// it took to close, and there are more windows than one part.
func TestAWindowIsKeptUntilItsDocumentSaysThatItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := startBeforeEnd(t, epoch)
		var es []events.Event
		for i := range maxDocuments/8 + 100 { // of twelve windows each, eight end
			e := event("1", "use", 1, epoch)
			e.Subject = fmt.Sprint("customer", i)
			es = append(es, e)
		}
		d.handle(t, epoch, es...)
		d.letWrite(t)
		later := epoch.Add(200 * day)
		d.takeOverAt(t, later)
		d.wait(0) // the first tick
		d.handle(t, later, event("2", "use", 1, later))
		d.commit(t)
		d.wantEnded(t)
		for c := range d.f.customers.all {
			for u := range c.windows {
				if u.closed {
					t.Fatalf("the window of %s is still there", c.id())
				}
			}
		}
	})
}
