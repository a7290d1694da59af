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
func ending(t *testing.T, now time.Time) (d *documented, end time.Time) {
	d = &documented{store: &memory{docs: map[string]records.Window{}}, now: now}
	d.takeOver(t, 1)
	return d, epoch.Add(7 * day)
}

func (d *documented) use(t *testing.T, at time.Time, es ...events.Event) {
	m := &stream.Message{Subject: "usage.p.0." + events.BatchToken, Data: pack(es), Seq: d.f.position + 1, Time: at}
	if err := d.Handle(m); err != nil {
		t.Fatal(err)
	}
	d.emits, d.totals = nil, nil // flushed
}

// quiet lets documents be written.
func (d *documented) quiet(t *testing.T) {
	for range 5 {
		d.commit(t)
		d.wait(2 * time.Second)
	}
}

func (d *documented) overtake(t *testing.T, now time.Time) {
	d.stop()
	synctest.Wait()
	d.now = now
	d.takeOver(t, d.o.Epoch+1)
}

func (d *documented) wantEnded(t *testing.T) {
	t.Helper()
	d.quiet(t)
	if w := d.wrong(); w != "" {
		t.Error(w)
	}
	d.stop()
}

func (d *documented) setAway(away bool) {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.away = away
}

func TestADocumentSaysThatItsWindowEndedThoughTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, end := ending(t, epoch)
		d.setAway(true)
		d.use(t, epoch, event("1", "use", 1, epoch))
		d.quiet(t)
		d.now = end.Add(time.Minute)
		d.wait(time.Second) // the end is found
		d.now = end.Add(-time.Hour)
		d.setAway(false)
		d.quiet(t)
		d.now = end.Add(2 * time.Hour)
		d.wantEnded(t)
	})
}

func TestADocumentSaysThatItsWindowEndedThoughAFormerOwnersClockRanAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, end := ending(t, epoch)
		d.use(t, epoch, event("1", "use", 1, epoch))
		d.now = end.Add(time.Hour)
		d.quiet(t)
		other := event("1", "use", 1, epoch)
		other.Subject = "other"
		d.use(t, epoch, other) // so that the end is in a commit
		d.quiet(t)
		d.overtake(t, end.Add(-time.Hour))
		d.use(t, end.Add(-time.Hour), event("2", "use", 1, epoch))
		d.quiet(t)
		d.overtake(t, end.Add(time.Minute))
		d.wantEnded(t)
	})
}

// TestADocumentSaysThatItsWindowHasBegun: the clock of its sender ran ahead.
func TestADocumentSaysThatItsWindowHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, end := ending(t, epoch)
		d.use(t, epoch, event("1", "use", 1, epoch))
		d.quiet(t)
		d.now = end.Add(-time.Minute)
		d.use(t, d.now, event("2", "use", 1, end.Add(time.Second)))
		d.quiet(t)
		d.now = end.Add(2 * time.Hour)
		d.wantEnded(t)
	})
}

// TestAWindowIsKeptUntilItsDocumentSaysThatItEnded: nobody ran for as long as
// it took to close, and there are more windows than one part.
func TestAWindowIsKeptUntilItsDocumentSaysThatItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := ending(t, epoch)
		var es []events.Event
		for i := range part/8 + 100 { // of twelve windows each, eight end
			e := event("1", "use", 1, epoch)
			e.Subject = fmt.Sprint("customer", i)
			es = append(es, e)
		}
		d.use(t, epoch, es...)
		d.quiet(t)
		later := epoch.Add(200 * day)
		d.overtake(t, later)
		d.wait(0) // the first tick
		d.use(t, later, event("2", "use", 1, later))
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
