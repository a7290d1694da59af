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

// startBeforeEnd returns an owner at now, and the end of the windows of seven days
// that begin at epoch.
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

// writeAll commits and waits until all documents are written.
func (d *documentOwner) writeAll(t *testing.T) {
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
	d.writeAll(t)
	if w := d.mismatch(); w != "" {
		t.Error(w)
	}
	d.stop()
}

func (d *documentOwner) setDown(down bool) {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.down = down
}

func TestDocumentShowsEndAfterClockWasSetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, end := startBeforeEnd(t, epoch)
		d.setDown(true)
		d.handle(t, epoch, event("1", "use", 1, epoch))
		d.writeAll(t)
		d.now = end.Add(time.Minute)
		d.wait(time.Second) // findEnded finds the end
		d.now = end.Add(-time.Hour)
		d.setDown(false)
		d.writeAll(t)
		d.now = end.Add(2 * time.Hour)
		d.wantEnded(t)
	})
}

func TestDocumentShowsEndAfterFormerOwnersClockWasAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, end := startBeforeEnd(t, epoch)
		d.handle(t, epoch, event("1", "use", 1, epoch))
		d.now = end.Add(time.Hour)
		d.writeAll(t)
		other := event("1", "use", 1, epoch)
		other.Subject = "other"
		d.handle(t, epoch, other) // the next commit contains the end
		d.writeAll(t)
		d.takeOverAt(t, end.Add(-time.Hour))
		d.handle(t, end.Add(-time.Hour), event("2", "use", 1, epoch))
		d.writeAll(t)
		d.takeOverAt(t, end.Add(time.Minute))
		d.wantEnded(t)
	})
}

// TestDocumentShowsBeginning folds an event whose sender's clock is ahead, so that
// its window has not begun.
func TestDocumentShowsBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, end := startBeforeEnd(t, epoch)
		d.handle(t, epoch, event("1", "use", 1, epoch))
		d.writeAll(t)
		d.now = end.Add(-time.Minute)
		d.handle(t, d.now, event("2", "use", 1, end.Add(time.Second)))
		d.writeAll(t)
		d.now = end.Add(2 * time.Hour)
		d.wantEnded(t)
	})
}

// TestClosedWindowIsKeptUntilDocumentShowsEnd takes over after so long a time that
// the windows close at once. There are more of them than one hand-over contains.
func TestClosedWindowIsKeptUntilDocumentShowsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, _ := startBeforeEnd(t, epoch)
		var es []events.Event
		for i := range maxDocuments/8 + 100 { // each has twelve windows, of which eight end
			e := event("1", "use", 1, epoch)
			e.Subject = fmt.Sprint("customer", i)
			es = append(es, e)
		}
		d.handle(t, epoch, es...)
		d.writeAll(t)
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
