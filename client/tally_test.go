package client

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// world is a customer's usage as the servers count it, and what some processes
// believe. A record reaches the servers in order, a decision the processes.
type world struct {
	t       *rapid.T
	g       *gateInfo
	now     time.Time
	start   time.Time
	length  time.Duration      // of the window
	used    events.Value       // all that was recorded in this window
	counted events.Value       // what the servers have counted of it
	way     []events.Value     // recorded, not yet counted
	sent    []*events.Decision // decided
	procs   []*process
	cut     bool // the usage was lowered
}

// process is one app process with its cache.
type process struct {
	seen  int // decisions that have arrived
	d     *events.Decision
	tally *tally
}

const testConfirm = 15 * time.Second

func (w *world) decide() {
	end := w.start.Add(w.length)
	d := &events.Decision{Reason: events.WithinLimit, Allowed: w.counted.Cmp(w.g.Limit.Value) < 0, Limit: w.g.Limit, Used: events.Some(w.counted), DecidedAt: w.now, Position: int64(len(w.sent))}
	if !w.g.rolling {
		d.WindowStart, d.WindowEnd = &w.start, &end
	}
	if !d.Allowed {
		if d.Reason = events.LimitReached; !w.g.rolling {
			d.UnblocksAt = &end
		}
	}
	w.sent = append(w.sent, d)
}

func (p *process) check(w *world) bool {
	var known gate.Known
	if p.tally != nil {
		known.Used.Value, known.Used.Valid = p.tally.estimate(w.g, w.now)
	}
	return gate.Later(&w.g.Gate, "free", "bob", p.d, known, w.now).Allowed
}

func (p *process) record(w *world, v events.Value) {
	if p.tally == nil || p.tally.over(w.now) {
		t := newTally(w.g, p.d, w.now)
		p.tally = &t
	}
	next := p.tally.recorded(v, w.now)
	p.tally = &next
	w.used = plus(w.used, v)
	w.way = append(w.way, v)
}

// arrive lets the next decision reach the process.
func (p *process) arrive(w *world) {
	if p.seen == len(w.sent) {
		return
	}
	p.d = w.sent[p.seen]
	p.seen++
	if p.tally != nil {
		next := p.tally.observed(w.g, p.d, w.now)
		p.tally = &next
	}
}

func (w *world) count() {
	if len(w.way) == 0 {
		return
	}
	w.counted = plus(w.counted, w.way[0])
	w.way = w.way[1:]
	w.decide()
}

func newWorld(t *rapid.T, kinds ...string) *world {
	g := apiGate(rapid.Int64Range(1, 12).Draw(t, "limit"))
	g.Window = rapid.SampledFrom(kinds).Draw(t, "window")
	g.Aggregate = rapid.SampledFrom([]string{"count", "sum"}).Draw(t, "aggregate")
	w := &world{t: t, now: time.Date(2026, 3, 1, 10, 20, 0, 0, time.UTC)}
	w.start, w.length = w.now.Truncate(time.Second), 30*24*time.Hour
	if g.Window == "calendar" {
		g.Period, w.start, w.length = "month", w.now.Truncate(24*time.Hour), 31*24*time.Hour
	}
	w.g = newGateInfo(g)
	return w
}

func (w *world) amount() events.Value {
	if !w.g.sum {
		return events.Count(1)
	}
	return events.Value{Units: rapid.Int64Range(0, 3).Draw(w.t, "units"), Nanos: rapid.Int32Range(0, 999_999_999).Draw(w.t, "nanos")}
}

func (w *world) one() *process {
	return w.procs[rapid.IntRange(0, len(w.procs)-1).Draw(w.t, "process")]
}

// actions are what can happen without the usage ever being lowered.
func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"use": func(t *rapid.T) {
			p := w.one()
			before := w.used
			if !p.check(w) {
				if before.Cmp(w.g.Limit.Value) < 0 {
					t.Fatalf("blocked wrongly at %s of %s", before, w.g.Limit)
				}
				return
			}
			if len(w.procs) == 1 && before.Cmp(w.g.Limit.Value) >= 0 {
				t.Fatalf("one process ran over: %s of %s are used", before, w.g.Limit)
			}
			p.record(w, w.amount())
		},
		"count":  func(*rapid.T) { w.count() },
		"arrive": func(*rapid.T) { w.one().arrive(w) },
		"wait": func(t *rapid.T) {
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
		},
	}
}

// One process that checks before it records never runs over, and none of many
// blocks wrongly, with decisions that come at any time.
func TestCountDown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, "anniversary", "calendar", "rolling")
		for range rapid.IntRange(1, 3).Draw(t, "processes") {
			w.procs = append(w.procs, &process{})
		}
		if rapid.Bool().Draw(t, "used_before") { // and known to all
			w.used = events.Count(rapid.Int64Range(0, w.g.Limit.Units).Draw(t, "used"))
			w.counted = w.used
			w.decide()
			for _, p := range w.procs {
				p.arrive(w)
			}
		}
		t.Repeat(w.actions())
	})
}

// Whatever lowers the usage, when all has been counted, has arrived and has had
// the time to within, a customer within the limit is not blocked, and one at
// the limit is.
func TestCountDownCatchesUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, "anniversary", "rolling")
		w.procs = []*process{{}, {}}
		all := w.actions()
		use := all["use"]
		all["use"] = func(t *rapid.T) {
			if !w.cut {
				use(t)
			} else if p := w.one(); p.check(w) {
				p.record(w, w.amount())
			}
		}
		all["correct"] = func(t *rapid.T) { // with a decision, as for every change near the limit
			w.cut = true
			off := least(events.Count(rapid.Int64Range(1, 5).Draw(t, "off")), w.counted)
			w.used, w.counted = w.used.Sub(off), w.counted.Sub(off)
			w.decide()
		}
		all["duplicate"] = func(*rapid.T) { // counted before by another process: no change
			w.cut = true
			p, used, way := w.one(), w.used, w.way
			p.record(w, w.amount())
			w.used, w.way = used, way
		}
		t.Repeat(all)
		for len(w.way) > 0 {
			w.count()
		}
		for _, p := range w.procs {
			for p.seen < len(w.sent) {
				p.arrive(w)
			}
			for range 12 {
				w.now = w.now.Add(testConfirm / 2)
				if p.tally != nil {
					next := p.tally.confirmed(w.g.limit(p.d), w.now.UnixNano(), 1, testConfirm, func(int64) bool { return true })
					p.tally = &next
				}
			}
			if got, want := p.check(w), w.used.Cmp(w.g.Limit.Value) < 0; got != want {
				t.Fatalf("allowed is %t at %s of %s", got, w.used, w.g.Limit)
			}
		}
	})
}

func TestTallyAcrossWindows(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(30 * 24 * time.Hour)
	g := newGateInfo(apiGate(10))
	d := &events.Decision{Limit: g.Limit, Used: events.Some(events.Count(7)), WindowStart: &start, WindowEnd: &end, DecidedAt: start}
	now := end.Add(-time.Second)
	tally := newTally(g, d, now).recorded(events.Count(2), now)
	if used, ok := tally.estimate(g, now); !ok || used.Units != 9 {
		t.Errorf("in the window: %v %t, want 9", used, ok)
	}
	if _, ok := tally.estimate(g, end); ok {
		t.Error("the count outlives its window")
	}
	if !tally.over(end) {
		t.Error("the window is not over at its end")
	}
	tally = newTally(g, d, end).recorded(events.Count(3), end)
	if used, _ := tally.estimate(g, end); used.Units != 3 || tally.start != end.UnixNano() {
		t.Errorf("in the next window: %v since %d, want 3", used, tally.start)
	}
	// The next window's decision knows of one of the three, and of four others.
	next := end.Add(30 * 24 * time.Hour)
	d2 := &events.Decision{Limit: g.Limit, Used: events.Some(events.Count(5)), WindowStart: &end, WindowEnd: &next, DecidedAt: end}
	tally = tally.observed(g, d2, end.Add(time.Second))
	if used, _ := tally.estimate(g, end.Add(time.Second)); used.Units != 5 {
		t.Errorf("with the next window's decision: %v, want 5", used)
	}
	// A decision about a window that is over says nothing.
	tally = tally.observed(g, d, end.Add(time.Second))
	if used, _ := tally.estimate(g, end.Add(time.Second)); used.Units != 5 {
		t.Errorf("with the old window's decision: %v, want 5", used)
	}
	// A downgrade cuts the window, and what was counted belongs to the old one.
	cut := end.Add(time.Hour)
	d3 := &events.Decision{Limit: g.Limit, Used: events.Some(events.Value{}), WindowStart: &cut, WindowEnd: &next, DecidedAt: cut}
	tally = tally.observed(g, d3, cut.Add(time.Second))
	if used, _ := tally.estimate(g, cut.Add(time.Second)); used.Units != 0 {
		t.Errorf("after the cut: %v, want 0", used)
	}
}

func TestRollingDecisionsCountForTheirHour(t *testing.T) {
	t.Parallel()
	one := apiGate(10)
	one.Window = "rolling"
	g := newGateInfo(one)
	now := time.Date(2026, 3, 1, 10, 50, 0, 0, time.UTC)
	d := &events.Decision{Allowed: true, Limit: g.Limit, Used: events.Some(events.Count(8)), DecidedAt: now}
	tally := newTally(g, d, now).recorded(events.Count(2), now)
	if used, _ := tally.estimate(g, now); used.Units != 10 {
		t.Errorf("in the hour of the decision: %v, want 10", used)
	}
	if used, _ := tally.estimate(g, now.Add(15*time.Minute)); used.Units != 2 {
		t.Errorf("an hour may have fallen out since: %v, want 2", used)
	}
}

func TestSettledWaitsForTheServers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	g := newGateInfo(apiGate(10))
	full := newTally(g, nil, now).recorded(events.Count(10), now)
	steps := []struct {
		after     time.Duration
		delivered bool
		current   time.Duration
		want      int64
	}{
		{time.Hour, false, 0, 10},                   // nothing was acknowledged yet
		{time.Hour + 1, true, 0, 10},                // now it is
		{time.Hour + 10e9, true, 0, 10},             // the servers have had 10 s
		{time.Hour + 20e9, true, 3600e9 + 15e9, 10}, // away in between
		{time.Hour + 31e9, true, 3600e9 + 15e9, 10}, // recorded after the first mark: settles with the next one
		{time.Hour + 32e9, true, 0, 10},
		{time.Hour + 50e9, true, 0, 0},
	}
	for i, s := range steps {
		full = full.confirmed(g.Limit, now.Add(s.after).UnixNano(), now.Add(s.current).UnixNano(), testConfirm, func(int64) bool { return s.delivered })
		if full.used.Units != s.want {
			t.Fatalf("step %d: used is %s, want %d", i, full.used, s.want)
		}
	}
}

// TestWhatIsNotUnderstoodIsNotCountedDown: gates of a newer server, whose windows
// or aggregates this client does not know.
func TestWhatIsNotUnderstoodIsNotCountedDown(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*events.Gate){
		"period":    func(g *events.Gate) { g.Period = "fortnight" },
		"window":    func(g *events.Gate) { g.Window = "lunar" },
		"aggregate": func(g *events.Gate) { g.Aggregate = "median" },
	} {
		g := apiGate(1)
		change(&g)
		c, m := inMemory(t, nil, g)
		for range 3 {
			if err := c.Record(t.Context(), Usage{Customer: "bob", Event: "api"}); err != nil {
				t.Fatal(err)
			}
			if d := c.Check("bob", "api"); !d.Allowed {
				t.Errorf("%s: a guess blocks: %+v", name, d)
			}
		}
		if n := recorded(t, c, m); n != 3 {
			t.Errorf("%s: %d uses were recorded", name, n)
		}
	}
}
