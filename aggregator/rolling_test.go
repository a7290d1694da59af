package aggregator

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

var rollingDay = gate.WindowSpec{Kind: gate.Rolling, Days: 1}

// TestUsageDatedAheadReachesTheLimitWhenItIsFolded: a sender's clock may run
// ahead into the next hour.
func TestUsageDatedAheadReachesTheLimitWhenItIsFolded(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, rollingDay))
	now := epoch.Add(59 * time.Minute)
	f.sendBatch(now, event("1", "use", 1, now))
	f.wantEmitted("acme/g=1")
	f.sendBatch(now, event("2", "use", 9, now.Add(2*time.Minute)))
	f.wantEmitted("acme/g=10")
}

// TestABlockIsToldWhenItsEndMoves: the enforcer ends a block of a rolling
// window by the buckets that it knows, so it must know those that prolong it.
func TestABlockIsToldWhenItsEndMoves(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, rollingDay))
	at := func(h int) time.Time { return epoch.Add(time.Duration(h) * time.Hour) }
	f.sendBatch(at(0), event("1", "use", 10, at(0)))
	f.wantEmitted("acme/g=10")
	f.sendBatch(at(1), event("2", "use", 1, at(1))) // 1 is left when the first hour falls out: as told
	f.wantEmitted()
	f.sendBatch(at(2), event("3", "use", 9, at(2))) // 10 are left
	f.wantEmitted("acme/g=20")
	f.sendBatch(at(2), event("4", "use", 5, at(2))) // 15 are left, 14 once the second has fallen out
	f.wantEmitted("acme/g=25")
	f.sendBatch(at(2), event("5", "use", 50, at(2))) // the block ends with this hour anyway
	f.wantEmitted()
}

func TestABlockOfAMaximumIsToldWhenItsEndMoves(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Max, rollingDay))
	f.sendBatch(epoch, event("1", "use", 12, epoch))
	f.wantEmitted("acme/g=12")
	later := epoch.Add(5 * time.Hour)
	f.sendBatch(later, event("2", "use", 11, later))
	f.wantEmitted("acme/g=12")
	f.sendBatch(later, event("3", "use", 9, later))
	f.wantEmitted()
}

func TestABlockOfAUniqueCountIsToldWhenItsEndMoves(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Unique, rollingDay))
	for i := range 10 {
		f.sendBatch(epoch, event(strconv.Itoa(i), "use", i, epoch))
	}
	f.emitted = nil
	later := epoch.Add(5 * time.Hour)
	f.sendBatch(later, event("again", "use", 0, later)) // 9 are left when the first hour falls out: as told
	f.wantEmitted()
	for i := range 10 {
		f.sendBatch(later, event("later"+strconv.Itoa(i), "use", i, later))
	}
	f.wantEmitted("acme/g=10")
}

// TestMembersThatFellOutMakeRoomUnderTheCap: a cap of members bounds what is
// counted now, not what was counted long ago.
func TestMembersThatFellOutMakeRoomUnderTheCap(t *testing.T) {
	c := oneGate(gate.Unique, rollingDay)
	c.Gates[0].Meter.Cap = 3
	f := newTestFolder(t, c)
	for i := range 5 {
		f.sendBatch(epoch, event(strconv.Itoa(i), "use", i, epoch))
	}
	f.wantTotal("acme", "g", "3")
	later := epoch.Add(2 * day)
	f.sendBatch(later, event("5", "use", 5, later))
	f.sendBatch(later, event("6", "use", 6, later))
	f.wantTotal("acme", "g", "2")
}

// TestALoudTotalStaysLoud: what an import or a correction changes before the
// next flush must not swallow the mail of a crossing.
func TestALoudTotalStaysLoud(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	f.foldOnly(epoch, events.BatchToken, batchOf([]events.Event{event("1", "use", 10, epoch)}))
	hundred := events.Count(100)
	f.sendControl(epoch, records.ControlOverride, "acme", "o", records.OverrideControl{Feature: "g", Override: &gate.Override{Limit: &hundred}})
	f.wantEmitted("acme/g=10", "acme/g=10 silent")
	f.foldOnly(epoch, events.BatchToken, batchOf([]events.Event{event("2", "use", 80, epoch)}))
	f.sendImport(epoch, event("3", "use", 10, epoch))
	f.wantEmitted("acme/g=90", "acme/g=100 silent")
}

// TestKeptSumsAreThoseOfTheBuckets, whatever was added, forgotten or cut since
// they were asked for.
func TestKeptSumsAreThoseOfTheBuckets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newTestFolder(t, everyGate())
		limits := rapid.SliceOfN(rapid.Int64Range(0, 30), 1, 4).Draw(rt, "limits")
		for _, m := range script(rt) {
			f.play([]message{m})
			for c := range f.customers.all {
				for u := range c.windows {
					g := u.feature.gate
					if g == nil || g.Window.Kind != gate.Rolling || u.detail == nil {
						continue
					}
					anew := *u.detail
					anew.sums = sums{}
					from := firstBucket(g, c.segments(new([1]gate.Segment)), f.now)
					if got, want := u.detail.sumsFrom(g, from).total, anew.sumsFrom(g, from).total; got != want {
						rt.Fatalf("%s: %s, want %s", u.feature.name, got, want)
					}
					for _, l := range limits {
						if got, want := u.detail.reachedSince(g, from, events.Count(l)), anew.reachedSince(g, from, events.Count(l)); got != want {
							rt.Fatalf("%s reaches %d at %d, want %d", u.feature.name, l, got, want)
						}
					}
				}
			}
		}
	})
}

// TestAnotherConfigurationOfARollingWindow counts by it from then on.
func TestAnotherConfigurationOfARollingWindow(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Rolling, Days: 60}))
	f.sendBatch(epoch, event("1", "use", 3, epoch))
	f.sendBatch(epoch, event("2", "use", 4, epoch.Add(-time.Hour)))
	f.wantTotal("acme", "g", "7")
	f.sendControl(epoch, records.ControlConfig, "", "1", oneGate(gate.Max, gate.WindowSpec{Kind: gate.Rolling, Days: 60}))
	f.wantTotal("acme", "g", "4")
	f.sendControl(epoch, records.ControlConfig, "", "2", oneGate(gate.Max, rollingDay))
	for hour, want := range []int{2, 1, 0} { // those that can still count or change
		f.sendBatch(epoch.Add(horizon + day + time.Duration(hour-1)*time.Hour))
		if n := len(f.customers.find("acme").first.buckets()); n != want {
			t.Errorf("%d buckets, want %d", n, want)
		}
	}
}
