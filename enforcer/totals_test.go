package enforcer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// TestATotalOfAGateThatIsNotKnownYetCountsLater: the aggregator may have a new
// configuration before the enforcer, and emits a total once.
func TestATotalOfAGateThatIsNotKnownYetCountsLater(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	without := catalog()
	without.Gates = without.Gates[1:]
	b.cat.Store(without)
	stop, _ := b.run(t)
	b.total(t, openWindow(10))
	b.fresh(t, "acme")
	if err := stop(); err != nil { // it is also known to the next owner
		t.Fatal(err)
	}
	b.run(t)
	b.cat.Store(catalog())
	b.bucket(t, "acme.api", blocked)
}

// TestDocumentsAreNotChangedWhileTheyAreWritten needs the race detector.
func TestDocumentsAreNotChangedWhileTheyAreWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop, _ := b.run(t)
	for i := range 300 {
		limit := events.Count(int64(i))
		b.account(t, records.Account{Customer: "acme", Overrides: map[string]*gate.Override{fmt.Sprint(i % 7): {Limit: &limit}}})
		b.store.mu.Lock()
		if _, err := json.Marshal(b.store.docs); err != nil { // as a store does that writes them
			t.Error(err)
		}
		b.store.mu.Unlock()
	}
	b.fresh(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// rollingTotal is a total of a rolling window, as of some hours ago.
func rollingTotal(used int64, ago time.Duration) records.WindowTotal {
	at := time.Now().UTC().Add(-ago)
	return records.WindowTotal{Customer: "acme", Feature: "tokens", StoredAt: at, Buckets: []gate.Bucket{{Start: at.Truncate(time.Hour), Used: events.Count(used)}}}
}

// totals publishes several totals at once, which keep their times.
func (b *bench) totals(t testing.TB, ws ...records.WindowTotal) {
	t.Helper()
	for i := range ws {
		b.pos++
		ws[i].Generation, ws[i].Position = 1, b.pos
	}
	data, err := wire.Totals(ws)
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, "windows.0", data)
}

// notices are the different (kind, percent, window) that were reported: each is
// one mail.
func (b *bench) notices(t testing.TB) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, l := range b.limits(t) {
		seen[fmt.Sprintf("%s %d %s", l.Kind, l.Percent, l.WindowStart.Format(time.RFC3339Nano))]++
	}
	return seen
}

func TestARollingWindowWarnsOnceANoticePeriod(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cat := catalog()
	cat.Gates[1].WarnAt = []int{50, 80}
	b.cat.Store(cat)
	b.run(t)
	for i, used := range []int64{60, 61, 85, 86, 100, 101} {
		b.totals(t, rollingTotal(used, time.Duration(6-i)*time.Minute))
		b.fresh(t, "acme")
	}
	if ns := b.notices(t); len(ns) != 3 {
		t.Errorf("reported %v, want 50 %%, 80 %% and the limit once each", ns)
	}
}

// TestARollingCrossingIsTheSameAfterACrash: what was one total after the other
// may come at once to the next owner.
func TestARollingCrossingIsTheSameAfterACrash(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	kill := b.uncommitted(t)
	b.totals(t, rollingTotal(100, 3*time.Minute))
	b.bucket(t, "acme.tokens", blocked)
	b.totals(t, rollingTotal(101, 2*time.Minute))
	b.fresh(t, "acme")
	kill()
	b.run(t)
	b.fresh(t, "acme")
	if ns := b.notices(t); len(ns) != 1 {
		t.Errorf("reported %v, want one crossing", ns)
	}
}

// TestWhatAnOwnerPutAndDidNotCommitIsTakenBack: the bucket holds a block that
// the state does not know, and what led to it is no reason any more.
func TestWhatAnOwnerPutAndDidNotCommitIsTakenBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop, _ := b.run(t)
	b.total(t, openWindow(1))
	b.fresh(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	kill := b.uncommitted(t)
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	kill()
	next := catalog()
	l := next.Gates[0].Limits["free"]
	l.Value = events.Count(1000)
	next.Gates[0].Limits["free"] = l
	b.cat.Store(next)
	b.run(t)
	if d := b.bucket(t, "acme.api", allowed); d.Limit != events.Some(events.Count(1000)) {
		t.Errorf("decision %+v", d)
	}
}

// TestATakeoverDoesNotDecideOnWhatIsOldAlready: the totals that led to the
// former owner's decision are read again, one after the other.
func TestATakeoverDoesNotDecideOnWhatIsOldAlready(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	kill := b.uncommitted(t)
	b.total(t, openWindow(9))
	for range 1000 { // more than what is handled at once
		b.total(t, records.WindowTotal{Customer: "other", Feature: "api", Start: openWindow(0).Start, End: openWindow(0).End})
	}
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	before, err := b.kv.Get(t.Context(), "acme.api")
	if err != nil {
		t.Fatal(err)
	}
	kill()
	b.run(t)
	b.fresh(t, "acme")
	if after, err := b.kv.Get(t.Context(), "acme.api"); err != nil || after.Revision() != before.Revision() {
		t.Errorf("put again after %s: %s, %v", before.Value(), after.Value(), err)
	}
}

// TestATotalFromBeforeACutDoesNotUndoIt: the aggregator folds the cut later
// than the enforcer has heard of it.
func TestATotalFromBeforeACutDoesNotUndoIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	w := openWindow(9)
	b.total(t, w)
	now := time.Now().UTC()
	b.account(t, records.Account{Customer: "acme", Anchor: &now})
	b.fresh(t, "acme")
	w.Used = events.Count(10)
	b.total(t, w)
	if _, ds := b.fresh(t, "acme"); !ds["api"].Allowed {
		t.Errorf("blocked by the usage of a window that has ended: %+v", ds["api"])
	}
	for n := range b.notices(t) {
		if n[:7] == "reached" {
			t.Errorf("reported %s", n)
		}
	}
}

// TestAnAnchorBeforeTheFirstUseCutsNothing: the window reaches back behind the
// moment at which the anchor was set, and the aggregator knows of it.
func TestAnAnchorBeforeTheFirstUseCutsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	w := openWindow(10)
	b.account(t, records.Account{Customer: "acme", Anchor: &w.Start})
	b.fresh(t, "acme")
	w.Cut = time.Now().UTC()
	b.total(t, w)
	b.bucket(t, "acme.api", blocked)
}

// uncommitted runs an owner that is killed before its first commit.
func (b *bench) uncommitted(t testing.TB) (kill func()) {
	t.Helper()
	env, lost := b.env, make(chan struct{})
	env.CommitEvery = time.Hour
	end, ready := make(chan error, 1), make(chan struct{})
	go func() {
		p := New(Options{Partitions: 1, Store: b.store, Catalog: b.cat.Load, Now: b.clock, Link: upgradeAt})
		end <- stream.Run(context.Background(), env, Spec(env.Names, 0), p, lost, func() { close(ready) })
	}()
	<-ready
	return func() {
		t.Helper()
		close(lost)
		if err := <-end; !errors.Is(err, stream.ErrLost) {
			t.Fatal(err)
		}
	}
}

// TestACutAndATotalInEitherOrder: a new owner may read the totals of a cut
// before the record that caused it, or after. Both must end in the same windows,
// and a total that includes the cut must not be cut again.
func TestACutAndATotalInEitherOrder(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 10, 12, 0, 0, 409e6, time.UTC)
	for name, w := range map[string]records.WindowTotal{
		"emitted before the cut":        {Start: at.AddDate(0, 0, -4), End: at.AddDate(0, 0, 26)},
		"emitted with the cut":          {Start: at.AddDate(0, 0, -4), End: at.AddDate(0, 0, 26), Cut: at},
		"emitted with a later cut":      {Start: at.AddDate(0, 0, -4), End: at.AddDate(0, 0, 26), Cut: at.Add(time.Hour)},
		"rolling, emitted before":       {Buckets: []gate.Bucket{{Start: at.Add(-time.Hour), Used: events.Count(5)}}},
		"rolling, emitted with the cut": {Start: at.AddDate(0, 0, -9), Buckets: []gate.Bucket{{Start: at.Add(-time.Hour), Used: events.Count(5)}}, Cut: at},
		"of a window that begins then":  {Start: at, End: at.AddDate(0, 0, 30), Cut: at},
	} {
		w.Customer, w.Feature, w.Generation, w.Position, w.Used = "acme", "api", 1, 7, events.Count(49)
		windows := func(steps ...func(*customer)) []records.WindowTotal {
			c := &customer{features: map[string]*entitlement{}}
			for _, step := range steps {
				step(c)
			}
			return c.features["api"].Windows
		}
		total := func(c *customer) { one := w; c.feature("api").merge(&one, c.cutAt, at.Add(time.Minute)) }
		cut := func(c *customer) { c.cut(at) }
		if first, last := windows(cut, total), windows(total, cut); !reflect.DeepEqual(first, last) {
			t.Errorf("%s: the cut first %+v, the total first %+v", name, first, last)
		}
	}
}
