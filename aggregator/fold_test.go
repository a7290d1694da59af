package aggregator

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// counted is an event that was counted, as a naive model remembers it.
type countedEvent struct {
	at time.Time
	n  int64
}

// naive is a total by the definition: of the events of the window that contains
// now, or of the hours that ended at most the period ago.
func naiveTotal(g *gate.Gate, anchor, now time.Time, es []countedEvent) int64 {
	var n int64
	members := map[int64]bool{}
	w := g.Window.At(gate.FirstSegment(anchor), now)
	for _, e := range es {
		if g.Window.Kind == gate.Rolling {
			if !e.at.Truncate(time.Hour).Add(time.Hour + g.Window.Length()).After(now) {
				continue
			}
		} else if !w.Contains(e.at) {
			continue
		}
		switch g.Meter.Aggregate {
		case gate.Count:
			n++
		case gate.Sum:
			n += e.n
		case gate.Max:
			n = max(n, e.n)
		case gate.Unique:
			members[e.n] = true
		}
	}
	return n + int64(len(members))
}

// TestTotalsAreThoseOfANaiveModel counts events of all ages, some twice, and
// asks for every gate after each.
func TestTotalsAreThoseOfANaiveModel(t *testing.T) {
	cat := everyGate()
	for i := range cat.Gates {
		cat.Gates[i].Meter.Cap = 0
	}
	rapid.Check(t, func(rt *rapid.T) {
		f := newTestFolder(t, cat)
		now, anchor := epoch, time.Time{}
		var es []countedEvent
		seen := map[string]time.Time{}
		for range rapid.IntRange(1, 40).Draw(rt, "events") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*day)).Draw(rt, "later")))
			at := now.Add(4*time.Minute - time.Duration(rapid.Int64Range(0, int64(34*day)).Draw(rt, "age")))
			id := strconv.Itoa(rapid.IntRange(0, 30).Draw(rt, "id"))
			n := rapid.Int64Range(0, 5).Draw(rt, "n")
			f.sendBatch(now, event(id, "use", int(n), at))
			last, known := seen[id]
			// Hours are what fingerprints know of time.
			again := known && last.Unix()/3600 >= now.Unix()/3600-int64(horizon/time.Hour)
			if now.Sub(at) <= horizon && !again {
				if anchor.IsZero() {
					anchor = at
				}
				seen[id], es = now, append(es, countedEvent{at, n})
			}
			for i := range cat.Gates {
				g := &cat.Gates[i]
				if got, want := f.current(g.Feature), naiveTotal(g, anchor, now, es); got != want {
					rt.Fatalf("%s at %s: %d, want %d of %v", g.Feature, now, got, want, es)
				}
			}
		}
	})
}

// current is acme's total in the window that contains now.
func (f *testFolder) current(feature string) int64 {
	c := f.customers.find("acme")
	if c == nil {
		return 0
	}
	for u := range c.windows {
		if u.feature.name == feature && (u.end == 0 || u.start <= f.now.UnixMilli() && f.now.UnixMilli() < u.end) {
			return u.total(f.features[feature].gate, c.segments(new([1]gate.Segment)), f.now).Units
		}
	}
	return 0
}

func TestDuplicatesAreFoundForTheHorizon(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Count, gate.WindowSpec{Kind: gate.Calendar}))
	f.catalog.Gates[0].Window = gate.WindowSpec{Kind: gate.Anniversary, Days: 3660}
	f.setCatalog(f.catalog)
	e := event("1", "use", 1, time.Time{})
	send := func(after time.Duration, last string) {
		m := e
		if last == "" {
			f.send(epoch.Add(after), "acme", m.AppendJSON(nil))
		} else {
			m.Time = epoch.Add(after)
			f.send(epoch.Add(after), last, batchOf([]events.Event{m}))
		}
	}
	for _, after := range []time.Duration{0, 0, time.Minute, 12 * time.Hour, 10 * day, horizon - time.Hour, horizon} {
		send(after, "") // without a time
		send(after, events.BatchToken)
		f.wantTotal("acme", "g", "1")
	}
	send(horizon+time.Hour, "")
	f.wantTotal("acme", "g", "2")
	send(horizon+2*time.Hour, events.BatchToken)
	f.wantTotal("acme", "g", "2")
	other := e
	other.Source = "another"
	f.sendBatch(epoch.Add(horizon+2*time.Hour), other)
	f.wantTotal("acme", "g", "3")
	if len(f.dead) != 0 {
		t.Errorf("duplicates are dead letters: %v", f.dead)
	}
}

func TestALateEventCorrectsItsOwnWindow(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	f.sendBatch(epoch, event("1", "use", 4, epoch))
	now := epoch.Add(40 * day)
	f.sendBatch(now, event("2", "use", 1, now))
	f.emitted = nil
	f.sendBatch(now, event("3", "use", 9, epoch.Add(20*day)))
	f.wantEmitted() // a window that is over can block nobody
	f.wantTotal("acme", "g", "1")
	if old := f.customers.find("acme").sortedWindows(nil)[0]; old.used != events.Count(13) || old.start != epoch.UnixMilli() {
		t.Errorf("the first window is %+v", old)
	}
}

func TestAWindowClosesForGoodAHorizonAfterItsEnd(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	f.sendBatch(epoch, event("1", "use", 4, epoch))
	for n, c := range []struct {
		after  time.Duration
		counts bool
	}{{30*day + horizon - time.Hour, true}, {30*day + 2*horizon, false}} {
		now := epoch.Add(c.after)
		f.sendBatch(now, event("now"+strconv.Itoa(n), "use", 0, now))
		dead := len(f.dead)
		f.sendImport(now, event("late"+strconv.Itoa(n), "use", 1, epoch.Add(29*day)))
		if (len(f.dead) == dead) != c.counts {
			t.Errorf("%s after its beginning: %v", c.after, f.dead)
		}
	}
	if !strings.Contains(f.dead[0].Reason, "closed for good") {
		t.Error(f.dead[0].Reason)
	}
}

func TestAPlanCutEndsTheWindowAndBeginsOne(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	f.sendBatch(epoch, event("1", "use", 10, epoch))
	f.emitted = nil
	cut := epoch.Add(5*day + 30*time.Minute)
	f.sendControl(cut, records.ControlPlan, "acme", "c", records.PlanControl{Plan: "free", From: cut, Cut: true})
	f.wantEmitted("acme/g=10 silent")
	f.sendControl(cut, records.ControlPlan, "acme", "c", records.PlanControl{Plan: "paid", From: cut.Add(1), Cut: true}) // a repetition
	f.wantEmitted()
	f.sendBatch(cut.Add(time.Minute), event("2", "use", 3, cut), event("3", "use", 2, cut.Add(-time.Second)))
	ws := f.customers.find("acme").sortedWindows(nil)
	if len(ws) != 2 || ws[0].used != events.Count(12) || ws[0].end != cut.UnixMilli() || ws[1].start != cut.UnixMilli() || ws[1].used != events.Count(3) {
		t.Errorf("%+v %+v", ws[0], ws[1])
	}
	if p := f.customers.find("acme").planName(); p != "free" {
		t.Errorf("plan %q", p)
	}
}

func TestARollingWindowDoesNotReachBehindACut(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, rollingDay))
	f.sendBatch(epoch, event("1", "use", 10, epoch))
	f.emitted = nil
	cut := epoch.Add(30 * time.Minute) // within the hour
	f.sendControl(cut, records.ControlAnchor, "acme", "c", records.AnchorControl{From: cut, Anchor: cut})
	f.wantEmitted("acme/g=0 silent")
	f.sendBatch(cut, event("2", "use", 3, cut.Add(-time.Second)), event("3", "use", 2, cut))
	f.wantTotal("acme", "g", "2")
}

func TestANewConfigurationTellsWhatItsLimitsChange(t *testing.T) {
	c := oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30})
	f := newTestFolder(t, c)
	f.sendBatch(epoch, event("1", "use", 5, epoch))
	f.emitted = nil
	f.sendControl(epoch, records.ControlConfig, "", "same", c)
	f.wantEmitted()
	next := oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30})
	next.Gates[0].Limits["free"] = gate.Limit{Value: events.Count(5)}
	f.sendControl(epoch, records.ControlConfig, "", "lower", next)
	f.wantEmitted("acme/g=5 silent")
	f.sendControl(epoch, "tidegate.other", "acme", "x", nil)
	f.sendControl(epoch, records.ControlPlan, "acme", "y", "no object")
	if len(f.dead) != 2 {
		t.Errorf("dead letters: %v", f.dead)
	}
}

// TestAnotherPeriodEndsTheRunningWindow: two windows must not both be current.
func TestAnotherPeriodEndsTheRunningWindow(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	f.sendBatch(epoch, event("1", "use", 10, epoch))
	now := epoch.Add(10 * day)
	f.emitted = nil
	f.sendControl(now, records.ControlConfig, "", "shorter", oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 7}))
	f.wantEmitted("acme/g=10 silent")
	f.sendBatch(now, event("2", "use", 3, now))
	ws := f.customers.find("acme").sortedWindows(nil)
	if second := epoch.Add(7 * day).UnixMilli(); len(ws) != 2 || ws[0].end != second || ws[1].start != second || ws[1].used != events.Count(3) {
		t.Errorf("%+v", ws)
	}
}

// TestACutThatComesLateLeavesOneWindow: a sender's clock ran ahead, or the
// enforcer was away, and usage had opened a window behind the cut.
func TestACutThatComesLateLeavesOneWindow(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	f.sendBatch(epoch, event("1", "use", 10, epoch))
	now := epoch.Add(31 * day)
	f.sendBatch(now, event("2", "use", 10, now))
	f.emitted = nil
	f.sendControl(now, records.ControlPlan, "acme", "c", records.PlanControl{Plan: "paid", From: epoch.Add(29 * day), Cut: true})
	f.wantEmitted("acme/g=10 silent", "acme/g=10 silent")
	f.sendBatch(now, event("3", "use", 3, now))
	current := 0
	for u := range f.customers.find("acme").windows {
		if u.start <= now.UnixMilli() && now.UnixMilli() < u.end {
			current++
		}
	}
	if got := f.current("g"); got != 3 || current != 1 {
		t.Errorf("used %d in %d windows", got, current)
	}
}

func TestAUniqueCountStaysAtItsCap(t *testing.T) {
	c := oneGate(gate.Unique, gate.WindowSpec{Kind: gate.Anniversary, Days: 30})
	c.Gates[0].Meter.Cap = 3
	f := newTestFolder(t, c)
	for i := range 9 {
		f.sendBatch(epoch, event(strconv.Itoa(i), "use", i%5, epoch))
	}
	f.wantTotal("acme", "g", "3")
	if u := f.customers.find("acme").first; u.events != 9 || len(u.detail.members) != 3 {
		t.Errorf("%d events, %d members", u.events, len(u.detail.members))
	}
}

func TestFoldingAllocatesLittle(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Count, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	f.sendBatch(epoch, event("0", "use", 1, epoch))
	msgs := make([][]byte, 0, 200)
	for i := range cap(msgs) {
		msgs = append(msgs, batchOf([]events.Event{event("n"+strconv.Itoa(i), "use", 1, epoch)}))
	}
	i := 0
	n := testing.AllocsPerRun(100, func() { f.foldOnly(epoch, events.BatchToken, msgs[i]); i++ })
	if n > 6 {
		t.Errorf("%v allocations a message of one event", n)
	}
}

// TestACustomerDoesNotKeepItsMessage: names live as long as the partition, the
// messages that they came in must not.
func TestACustomerDoesNotKeepItsMessage(t *testing.T) {
	f := newTestFolder(t, oneGate(gate.Count, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}))
	large := event("0", "use", 1, epoch)
	large.Data = []byte(`{"s":"` + strings.Repeat("x", 60_000) + `"}`)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 500 {
		large.ID, large.Subject = strconv.Itoa(i), benchCustomer(i)
		f.sendBatch(epoch, large)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 5<<20 {
		t.Errorf("500 customers keep %d bytes", grown)
	}
	runtime.KeepAlive(f)
}
