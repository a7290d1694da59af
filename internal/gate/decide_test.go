package gate

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
)

func catalog() *Catalog {
	return &Catalog{
		Plans: []Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}, {Name: "lite"}},
		Gates: []Gate{{Feature: "api", Meter: Meter{Event: "api", Aggregate: Count}, Window: WindowSpec{Kind: Anniversary, Days: 30},
			Message: "Upgrade.", UpgradeURL: "https://a.example/u",
			Limits: map[string]Limit{"free": {Value: events.Count(100)}, "pro": {Unlimited: true}, "lite": {None: true}}}},
	}
}

func value(n int64) *events.Value {
	v := events.Count(n)
	return &v
}

func moment(d time.Duration) *time.Time {
	t := start.Add(d)
	return &t
}

func TestDecide(t *testing.T) {
	now := start.Add(10 * day)
	type want struct {
		allowed, wouldBlock bool
		reason              events.Reason
		limit, remaining    string
		unblocks, message   bool
	}
	blocked := want{reason: events.LimitReached, limit: "100", remaining: "0", unblocks: true, message: true}
	for _, c := range []struct {
		name, plan string
		used       int64
		override   *Override
		change     func(*Gate)
		want       want
	}{
		{"nothing used", "", 0, nil, nil, want{allowed: true, reason: events.WithinLimit, limit: "100", remaining: "100"}},
		{"below the level", "free", 79, nil, nil, want{allowed: true, reason: events.WithinLimit, limit: "100", remaining: "21"}},
		{"at the level", "free", 80, nil, nil, want{allowed: true, reason: events.NearLimit, limit: "100", remaining: "20"}},
		{"at a lower level", "free", 50, nil, func(g *Gate) { g.WarnAt = []int{50, 90} }, want{allowed: true, reason: events.NearLimit, limit: "100", remaining: "50"}},
		{"a level above 80 only", "free", 80, nil, func(g *Gate) { g.WarnAt = []int{95} }, want{allowed: true, reason: events.NearLimit, limit: "100", remaining: "20"}},
		{"the last allowed use", "free", 100, nil, nil, blocked},
		{"more", "free", 150, nil, nil, blocked},
		{"unlimited", "pro", 1e6, nil, nil, want{allowed: true, reason: events.Unlimited, limit: "unlimited", remaining: "unlimited"}},
		{"a plan that is not configured", "gone", 1e6, nil, nil, want{allowed: true, reason: events.Unlimited, limit: "unlimited", remaining: "unlimited"}},
		{"not in the plan", "lite", 0, nil, nil, want{reason: events.NotInPlan, limit: "0", remaining: "0", message: true}},
		{"a limit of 0 never ends", "free", 0, nil, func(g *Gate) { g.Limits["free"] = Limit{} }, want{reason: events.LimitReached, limit: "0", remaining: "0", message: true}},
		{"shadow", "free", 100, nil, func(g *Gate) { g.Shadow = true },
			want{allowed: true, wouldBlock: true, reason: events.Shadow, limit: "100", remaining: "0", unblocks: true, message: true}},
		{"shadow, not in the plan", "lite", 0, nil, func(g *Gate) { g.Shadow = true },
			want{allowed: true, wouldBlock: true, reason: events.Shadow, limit: "0", remaining: "0", message: true}},
		{"shadow within the limit", "free", 1, nil, func(g *Gate) { g.Shadow = true }, want{allowed: true, reason: events.WithinLimit, limit: "100", remaining: "99"}},
		{"before it is enforced", "free", 100, nil, func(g *Gate) { g.EnforceFrom = moment(10*day + 1) },
			want{allowed: true, wouldBlock: true, reason: events.Shadow, limit: "100", remaining: "0", unblocks: true, message: true}},
		{"from then on", "free", 100, nil, func(g *Gate) { g.EnforceFrom = moment(10 * day) }, blocked},
		{"an override lifts", "free", 150, &Override{Limit: value(200)}, nil, want{allowed: true, reason: events.Overridden, limit: "200", remaining: "50"}},
		{"an override near its limit", "free", 190, &Override{Limit: value(200)}, nil, want{allowed: true, reason: events.Overridden, limit: "200", remaining: "10"}},
		{"an override lowers", "pro", 5, &Override{Limit: value(5)}, nil, want{reason: events.LimitReached, limit: "5", remaining: "0", unblocks: true, message: true}},
		{"an override opens", "lite", 5, &Override{Limit: value(6)}, nil, want{allowed: true, reason: events.Overridden, limit: "6", remaining: "1"}},
		{"an override is over", "free", 100, &Override{Limit: value(200), Until: moment(10 * day)}, nil, blocked},
		{"an override is not yet over", "free", 100, &Override{Limit: value(200), Until: moment(10*day + 1)}, nil,
			want{allowed: true, reason: events.Overridden, limit: "200", remaining: "100"}},
		{"a grant in its window", "free", 100, &Override{Grant: value(50), At: moment(0)}, nil, want{allowed: true, reason: events.Overridden, limit: "150", remaining: "50"}},
		{"a grant of a former window", "free", 100, &Override{Grant: value(50), At: moment(-1)}, nil, blocked},
		{"a grant of a later window", "free", 100, &Override{Grant: value(50), At: moment(30 * day)}, nil, blocked},
		{"a grant opens", "lite", 10, &Override{Grant: value(50), At: moment(0)}, nil, want{allowed: true, reason: events.Overridden, limit: "50", remaining: "40"}},
		{"a grant adds to an override", "free", 100, &Override{Limit: value(100), Grant: value(50), At: moment(0)}, nil,
			want{allowed: true, reason: events.Overridden, limit: "150", remaining: "50"}},
		{"a grant on no limit", "pro", 100, &Override{Grant: value(50), At: moment(0)}, nil, want{allowed: true, reason: events.Unlimited, limit: "unlimited", remaining: "unlimited"}},
		{"a grant beyond every number", "free", 100, &Override{Grant: value(1<<63 - 1), At: moment(0)}, nil,
			want{allowed: true, reason: events.Overridden, limit: "unlimited", remaining: "unlimited"}},
		{"an override that says nothing", "free", 100, &Override{Reason: "?"}, nil, blocked},
	} {
		cat := catalog()
		g, _ := cat.Gate("api")
		if c.change != nil {
			c.change(g)
		}
		u := Usage{Start: start, End: start.Add(30 * day), UnblocksAt: start.Add(30 * day), Used: events.Count(c.used), AsOf: start}
		d := Decide(cat, g, "acme", c.plan, c.override, u, now)
		got := want{allowed: d.Allowed, wouldBlock: d.WouldBlock, reason: d.Reason, limit: d.Limit.String(), remaining: d.Remaining.String(),
			unblocks: d.UnblocksAt != nil, message: d.Message != ""}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if d.Customer != "acme" || d.Feature != "api" || d.Used != events.Some(u.Used) || !d.WindowStart.Equal(u.Start) || !d.DecidedAt.Equal(now) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestACustomerWithoutUsageHasNoWindow(t *testing.T) {
	cat := catalog()
	d := Decide(cat, &cat.Gates[0], "acme", "", &Override{Grant: value(5), At: moment(0)}, Usage{}, start)
	if !d.AsOf.Equal(start) {
		t.Errorf("as of %s, want the moment of deciding", d.AsOf)
	}
	if !d.Allowed || d.Plan != "free" || d.WindowStart != nil || d.WindowEnd != nil || d.Limit != events.Some(events.Count(105)) {
		t.Errorf("%+v", d)
	}
}

func TestDecisionsKeepTheirPromises(t *testing.T) {
	amount := rapid.Map(rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, 1<<62)), events.Count)
	rapid.Check(t, func(t *rapid.T) {
		cat := catalog()
		g := &cat.Gates[0]
		g.Limits["free"] = Limit{Value: amount.Draw(t, "limit")}
		g.Shadow = rapid.Bool().Draw(t, "shadow")
		if rapid.Bool().Draw(t, "later") {
			g.EnforceFrom = moment(day)
		}
		var o *Override
		if rapid.Bool().Draw(t, "override") {
			l, gr := amount.Draw(t, "own"), amount.Draw(t, "grant")
			o = rapid.SampledFrom([]*Override{{Limit: &l}, {Grant: &gr}, {Limit: &l, Until: moment(day)}, {Grant: &gr, At: moment(-day)}}).Draw(t, "o")
		}
		u := Usage{Start: start, End: start.Add(30 * day), UnblocksAt: start.Add(30 * day), Used: amount.Draw(t, "used")}
		now := start.Add(time.Duration(rapid.Int64Range(0, int64(2*day)).Draw(t, "now")))
		planName := rapid.SampledFrom([]string{"", "free", "pro", "lite", "gone"}).Draw(t, "plan")
		d := Decide(cat, g, "acme", planName, o, u, now)
		if again := Decide(cat, g, "acme", planName, o, u, now); !reflect.DeepEqual(d, again) {
			t.Fatalf("%+v, then %+v", d, again)
		}
		under := !d.Limit.Valid || u.Used.Cmp(d.Limit.Value) < 0
		enforced := !g.Shadow && (g.EnforceFrom == nil || !now.Before(*g.EnforceFrom))
		switch {
		case d.Allowed != (under || !enforced):
			t.Fatalf("used %v of %v, enforced %t: %+v", u.Used, d.Limit, enforced, d)
		case d.WouldBlock != (!under && !enforced), d.WouldBlock != (d.Reason == events.Shadow):
			t.Fatalf("would block: %+v", d)
		case d.Remaining.Valid != d.Limit.Valid, d.Remaining.Sign() < 0:
			t.Fatalf("remaining: %+v", d)
		case d.Limit.Valid && under && d.Limit.Sub(u.Used) != d.Remaining.Value:
			t.Fatalf("remaining: %+v", d)
		case d.UnblocksAt != nil && under:
			t.Fatalf("an end of no block: %+v", d)
		}
	})
}

func TestThresholdsAreWhereDecisionsChange(t *testing.T) {
	g := &Gate{WarnAt: []int{50, 90}, Limits: map[string]Limit{"free": {Value: events.Count(10)}, "team": {Value: events.Count(100)},
		"same": {Value: events.Count(100)}, "pro": {Unlimited: true}, "lite": {None: true}}}
	want := []int64{5, 9, 10, 50, 90, 100}
	ts := g.Thresholds()
	for i := range ts {
		if len(ts) != len(want) || ts[i] != events.Count(want[i]) {
			t.Fatalf("%v, want %v", ts, want)
		}
	}
	for _, c := range []struct {
		warn []int
		want int64
	}{{nil, 80}, {[]int{50}, 50}, {[]int{80, 95}, 80}, {[]int{95}, 80}} {
		if got := (&Gate{WarnAt: c.warn}).Near(events.Count(100)); got != events.Count(c.want) {
			t.Errorf("near with %v: %v, want %d", c.warn, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := events.Count(rapid.Int64Range(0, 1000).Draw(t, "limit"))
		g := &Gate{WarnAt: rapid.SampledFrom([][]int{nil, {1}, {50, 99}, {90}}).Draw(t, "warn"), Limits: map[string]Limit{"free": {Value: limit}}}
		cat := &Catalog{Plans: []Plan{{Name: "free", Default: true}}, Gates: []Gate{*g}}
		a := events.Count(rapid.Int64Range(0, 1000).Draw(t, "a"))
		b, _ := a.Add(events.Count(1))
		crossed := false
		for _, th := range g.Thresholds() {
			crossed = crossed || a.Cmp(th) < 0 && b.Cmp(th) >= 0
		}
		from := Decide(cat, g, "c", "", nil, Usage{Used: a}, start)
		to := Decide(cat, g, "c", "", nil, Usage{Used: b}, start)
		if from.Reason != to.Reason && !crossed && a.Sign() > 0 {
			t.Fatalf("%v → %v of %v changes %s to %s, thresholds %v", a, b, limit, from.Reason, to.Reason, g.Thresholds())
		}
	})
}

func TestCatalog(t *testing.T) {
	cat := catalog()
	if p := cat.Plan(""); p.Name != "free" {
		t.Error(p)
	}
	if p := (&Catalog{}).Plan(""); p.Name != "free" || !p.Default {
		t.Error(p)
	}
	if p := cat.Plan("gone"); !p.Paid || p.Name != "gone" {
		t.Error(p)
	}
	if _, ok := cat.Gate("other"); ok {
		t.Error("a gate that is not there")
	}
	g, _ := cat.Gate("api")
	p := cat.Public(g, true)
	if !p.Off || !p.InPlan || p.Limit != events.Some(events.Count(100)) || p.Period != "30d" || p.Window != "anniversary" {
		t.Errorf("%+v", p)
	}
	half := events.Value{Nanos: 500_000_000}
	for want, l := range map[string]Limit{"unlimited": {Unlimited: true}, "none": {None: true}, "100": {Value: events.Count(100)}, "0.5": {Value: half}} {
		if l.String() != want {
			t.Errorf("%s, want %s", l, want)
		}
	}
}

// The built-in message speaks of a limit, which a feature outside of the plan lacks.
func TestAFeatureOutsideOfThePlanSaysSo(t *testing.T) {
	for said, want := range map[string]string{DefaultMessage: "Your plan does not include this feature.", "Upgrade.": "Upgrade."} {
		c := catalog()
		g := &c.Gates[0]
		g.Message = said
		d := Decide(c, g, "acme", "lite", nil, Usage{}, start)
		if d.Reason != events.NotInPlan || d.Message != want {
			t.Errorf("%s: %q, want %q", d.Reason, d.Message, want)
		}
		d.Message = said // of an earlier version
		if a := Blocked(&d); a.Status != 403 || a.Detail != want {
			t.Errorf("%d %q, want %q", a.Status, a.Detail, want)
		}
		if d := Decide(c, g, "acme", "free", nil, Usage{Used: events.Count(100)}, start); d.Message != said {
			t.Errorf("%s: %q, want %q", d.Reason, d.Message, said)
		}
	}
}
