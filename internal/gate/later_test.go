package gate

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
)

func announced(limit int64) events.Gate {
	return events.Gate{Feature: "api", Event: "api", Aggregate: "count", InPlan: true, Limit: events.Some(events.Count(limit)),
		Period: "30d", Window: "anniversary", Message: "Upgrade to continue.", UpgradeURL: "https://acme.example/pricing"}
}

func TestLater(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	block := func(until *time.Time) *events.Decision {
		return &events.Decision{Customer: "bob", Feature: "api", Reason: events.LimitReached, Plan: "free", Limit: events.Some(events.Count(100)),
			Used: events.Some(events.Count(100)), Remaining: events.Some(events.Value{}), UnblocksAt: until, DecidedAt: past.Add(-time.Hour)}
	}
	near := &events.Decision{Customer: "bob", Feature: "api", Allowed: true, Reason: events.NearLimit, Plan: "free", Limit: events.Some(events.Count(100)),
		Used: events.Some(events.Count(97)), Remaining: events.Some(events.Count(3)), WindowStart: &past, WindowEnd: &future, DecidedAt: past}
	over := *near
	over.WindowEnd = &now
	shadow := *block(&future)
	shadow.Allowed, shadow.WouldBlock, shadow.Reason = true, true, events.Shadow
	none := &events.Decision{Customer: "bob", Feature: "api", Reason: events.NotInPlan, Plan: "free", Limit: events.Some(events.Value{}), Used: events.Some(events.Value{})}
	granted := *near
	granted.Reason, granted.Limit = events.Overridden, events.Some(events.Count(200))
	strange, wasOff, shadowNone := *near, *near, *none
	strange.Reason = "fair_use" // of a newer server
	wasOff.Reason, wasOff.Used, wasOff.Remaining = events.GateOff, events.NullValue{}, events.NullValue{}
	shadowNone.Allowed, shadowNone.WouldBlock, shadowNone.Reason = true, true, events.Shadow
	type gateEdit func(*events.Gate)
	plain := func(*events.Gate) {}
	for _, tt := range []struct {
		name      string
		edit      gateEdit
		d         *events.Decision
		used      int64 // -1: not counted
		allowed   bool
		reason    events.Reason
		remaining string
	}{
		{"new customer", plain, nil, -1, true, events.WithinLimit, "unlimited"},
		{"new customer, counted", plain, nil, 40, true, events.WithinLimit, "60"},
		{"new customer, counted to the limit", plain, nil, 100, false, events.LimitReached, "0"},
		{"limit 0", func(g *events.Gate) { g.Limit = events.Some(events.Value{}) }, nil, -1, false, events.LimitReached, "0"},
		{"not in the default plan", func(g *events.Gate) { g.InPlan = false }, nil, -1, false, events.NotInPlan, "0"},
		{"unlimited", func(g *events.Gate) { g.Limit = events.NullValue{} }, nil, 1000, true, events.Unlimited, "unlimited"},
		{"off without a key", func(g *events.Gate) { g.Off, g.InPlan = true, false }, nil, -1, true, events.GateOff, "0"},
		{"shadow without a key", func(g *events.Gate) { g.Shadow, g.InPlan = true, false }, nil, -1, true, events.Shadow, "0"},
		{"not yet enforced", func(g *events.Gate) { g.EnforceFrom = &future }, nil, 100, true, events.Shadow, "0"},
		{"enforced since", func(g *events.Gate) { g.EnforceFrom = &past }, nil, 100, false, events.LimitReached, "0"},
		{"blocked", plain, block(&future), -1, false, events.LimitReached, "0"},
		{"blocked for good", plain, block(nil), -1, false, events.LimitReached, "0"},
		{"block that is over", plain, block(&past), -1, true, events.WithinLimit, "unlimited"},
		{"block that ends now", plain, block(&now), -1, true, events.WithinLimit, "unlimited"},
		{"block that is over, counted since", plain, block(&past), 30, true, events.WithinLimit, "70"},
		{"blocked and off", func(g *events.Gate) { g.Off = true }, block(&future), -1, true, events.GateOff, "0"},
		{"blocked, now in shadow", func(g *events.Gate) { g.Shadow = true }, block(&future), -1, true, events.Shadow, "0"},
		{"shadow as decided", plain, &shadow, -1, true, events.Shadow, "0"},
		{"shadow until a moment ago", func(g *events.Gate) { g.EnforceFrom = &past }, &shadow, -1, false, events.LimitReached, "0"},
		{"near", plain, near, -1, true, events.NearLimit, "3"},
		{"near, counted", plain, near, 99, true, events.NearLimit, "1"},
		{"near, counted less than known", plain, near, 2, true, events.NearLimit, "3"},
		{"near, counted to the limit", plain, near, 100, false, events.LimitReached, "0"},
		{"near, of a window that is over", plain, &over, -1, true, events.WithinLimit, "unlimited"},
		{"granted more", plain, &granted, 150, true, events.Overridden, "50"},
		{"not in the plan", plain, none, -1, false, events.NotInPlan, "0"},
		{"unknown reason, counted to the limit", plain, &strange, 100, true, "fair_use", "3"},
		{"near by the count", func(g *events.Gate) { g.Near = 80 }, nil, 80, true, events.NearLimit, "20"},
		{"not near by the count", func(g *events.Gate) { g.Near = 80 }, nil, 79, true, events.WithinLimit, "21"},
		{"off until a moment ago", plain, &wasOff, -1, true, events.WithinLimit, "unlimited"},
		{"not in the plan, enforced since", func(g *events.Gate) { g.EnforceFrom, g.InPlan = &past, false }, &shadowNone, -1, false, events.NotInPlan, "0"},
		{"nothing is known", plain, &events.Decision{Customer: "bob", Feature: "api", Reason: events.NoDecision, Message: "-", UpgradeURL: "-"}, 100, false, events.NoDecision, "unlimited"},
	} {
		one := announced(100)
		tt.edit(&one)
		known := Known{Used: events.NullValue{Value: events.Count(tt.used), Valid: tt.used >= 0}}
		got := Later(&one, "free", "bob", tt.d, known, now)
		if got.Allowed != tt.allowed || got.Reason != tt.reason || got.Remaining.String() != tt.remaining {
			t.Errorf("%s: allowed %t, %s, %s remain; want %t, %s, %s", tt.name, got.Allowed, got.Reason, got.Remaining, tt.allowed, tt.reason, tt.remaining)
		}
		if got.WouldBlock != (tt.reason == events.Shadow) {
			t.Errorf("%s: would block: %t", tt.name, got.WouldBlock)
		}
		if !got.Allowed && (got.Message == "" || got.UpgradeURL == "") {
			t.Errorf("%s: blocked without a message", tt.name)
		}
	}
}

// TestUsageBesideADecision holds how the owner's count and a lower bound
// change what a decision shows.
func TestUsageBesideADecision(t *testing.T) {
	t.Parallel()
	now := start.Add(10 * day)
	end, cut := start.Add(30*day), start.Add(5*day)
	near := events.Decision{Customer: "bob", Feature: "api", Allowed: true, Reason: events.NearLimit, Plan: "free", Limit: events.Some(events.Count(100)),
		Used: events.Some(events.Count(90)), Remaining: events.Some(events.Count(10)), WindowStart: &start, WindowEnd: &end}
	used := func(n int64) events.NullValue { return events.Some(events.Count(n)) }
	recut := near
	recut.WindowStart = &cut
	for _, tt := range []struct {
		name   string
		d      events.Decision
		k      Known
		used   int64
		reason events.Reason
	}{
		{"the owner counts less", near, Known{Used: used(12), Exact: true, Start: start, End: end}, 12, events.WithinLimit},
		{"a bound below what is known", near, Known{Used: used(12), Start: start, End: end}, 90, events.NearLimit},
		{"a bound above", near, Known{Used: used(95), Start: start, End: end}, 95, events.NearLimit},
		{"a bound at the limit", near, Known{Used: used(100)}, 100, events.LimitReached},
		{"the owner has not seen the cut yet", recut, Known{Used: used(150), Exact: true, Start: start, End: end}, 90, events.NearLimit},
		{"a document from before the cut", recut, Known{Used: used(150), Start: start, End: end}, 90, events.NearLimit},
	} {
		g := announced(100)
		g.Near = 80
		got := Later(&g, "free", "bob", &tt.d, tt.k, now)
		if got.Used != used(tt.used) || got.Reason != tt.reason || got.Allowed != (tt.reason != events.LimitReached) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// TestLaterTwiceIsLaterOnce: at the same moment nothing changes any more, also
// when the usage is put in at the second time only.
func TestLaterTwiceIsLaterOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g, d := anyGate(t), anyDecision(t)
		now := start.Add(time.Duration(rapid.IntRange(-2, 6).Draw(t, "now")) * time.Hour)
		once := Later(&g, "free", "bob", d, Known{}, now)
		if twice := Later(&g, "free", "bob", &once, Known{}, now); !reflect.DeepEqual(once, twice) {
			t.Fatalf("once  %+v\ntwice %+v", once, twice)
		}
		if once.Allowed && once.WouldBlock != (once.Reason == events.Shadow) {
			t.Fatalf("%+v", once)
		}
		known := Known{Used: events.Some(events.Count(rapid.Int64Range(0, 12).Draw(t, "used")))}
		counted := Later(&g, "free", "bob", d, known, now)
		if after := Later(&g, "free", "bob", &once, known, now); !g.Off && !reflect.DeepEqual(after, counted) {
			t.Fatalf("at once %+v\nlater   %+v", counted, after)
		}
		if counted.Allowed && !once.Allowed {
			t.Fatalf("usage unblocked: %+v, then %+v", once, counted)
		}
	})
}

func anyGate(t *rapid.T) events.Gate {
	g := announced(rapid.Int64Range(0, 10).Draw(t, "limit"))
	g.InPlan = rapid.IntRange(0, 4).Draw(t, "in_plan") > 0
	g.Limit.Valid = rapid.IntRange(0, 4).Draw(t, "limited") > 0
	g.Shadow = rapid.IntRange(0, 4).Draw(t, "shadow") == 0
	g.Off = rapid.IntRange(0, 6).Draw(t, "off") == 0
	g.Near = rapid.SampledFrom([]int{0, 50, 80}).Draw(t, "near")
	g.Window = rapid.SampledFrom([]string{"anniversary", "rolling", "lunar"}).Draw(t, "window")
	if h := rapid.IntRange(-2, 6).Draw(t, "enforce_from"); h > 2 {
		at := start.Add(time.Duration(h) * time.Hour)
		g.EnforceFrom = &at
	}
	return g
}

// anyDecision is a decision as servers make them, or nil.
func anyDecision(t *rapid.T) *events.Decision {
	if rapid.IntRange(0, 5).Draw(t, "decided") == 0 {
		return nil
	}
	hour := func(name string) *time.Time {
		if h := rapid.IntRange(-1, 6).Draw(t, name); h >= 0 {
			at := start.Add(time.Duration(h) * time.Hour)
			return &at
		}
		return nil
	}
	d := events.Decision{Customer: "bob", Feature: "api", Plan: rapid.SampledFrom([]string{"free", "pro"}).Draw(t, "plan"),
		Reason: rapid.SampledFrom([]events.Reason{events.WithinLimit, events.NearLimit, events.LimitReached, events.Unlimited, events.Overridden,
			events.Shadow, events.NotInPlan, events.GateOff, "fair_use"}).Draw(t, "reason"), DecidedAt: start, AsOf: start}
	switch d.Reason {
	case events.LimitReached, events.NotInPlan:
	case events.Shadow:
		d.Allowed, d.WouldBlock = true, true
	default:
		d.Allowed = true
	}
	if d.Reason != events.Unlimited {
		d.Limit = events.Some(events.Count(rapid.Int64Range(0, 10).Draw(t, "own")))
	}
	if rapid.Bool().Draw(t, "shows") {
		d.Used = events.Some(events.Count(rapid.Int64Range(0, 12).Draw(t, "says")))
		if d.Limit.Valid {
			d.Remaining = events.Some(d.Limit.Sub(d.Used.Value).Max(events.Value{}))
		}
	}
	if end := hour("end"); end != nil {
		d.WindowStart, d.WindowEnd = &start, end
		if !d.Allowed || d.WouldBlock {
			d.UnblocksAt = end
		}
	}
	return &d
}
