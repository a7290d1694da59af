package ingest

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

func running(used int64) records.Window {
	return records.Window{Customer: "acme", Feature: "api", Plan: "free", Current: true, Used: events.Count(used), Limit: events.Some(events.Count(100)),
		Start: testNow.Add(-24 * time.Hour), End: testNow.Add(24 * time.Hour), LastAt: testNow.Add(-time.Minute)}
}

func TestLaterWithUsage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	allowed := events.Decision{Customer: "acme", Feature: "api", Allowed: true, Reason: events.WithinLimit, Limit: events.Some(events.Count(100))}
	near := allowed
	near.Reason, near.Used = events.NearLimit, events.Some(events.Count(90))
	unlimited := events.Decision{Allowed: true, Reason: events.Unlimited}
	off := allowed
	off.Reason = events.GateOff
	shadow := func(g *gate.Gate) { g.Shadow = true }
	later := func(g *gate.Gate) { t := testNow.Add(time.Hour); g.EnforceFrom = &t }
	past := running(70)
	past.Start, past.End = testNow.Add(-48*time.Hour), testNow
	for _, c := range []struct {
		name    string
		cached  events.Decision
		window  records.Window
		inexact bool
		gate    func(*gate.Gate)
		allowed bool
		reason  events.Reason
		used    int64
		remain  int64 // -1: null
	}{
		{"within", allowed, running(12), false, nil, true, events.WithinLimit, 12, 88},
		{"near", allowed, running(80), false, nil, true, events.NearLimit, 80, 20},
		{"the block is on its way", allowed, running(100), false, nil, false, events.LimitReached, 100, 0},
		{"overrun", near, running(107), false, nil, false, events.LimitReached, 107, 0},
		{"shadow", allowed, running(100), false, shadow, true, events.Shadow, 100, 0},
		{"not enforced yet", allowed, running(100), false, later, true, events.Shadow, 100, 0},
		{"gate off", off, running(100), false, nil, true, events.GateOff, 100, 0},
		{"unlimited", unlimited, running(1000), false, nil, true, events.Unlimited, 1000, -1},
		{"the cache's block stands", blocked("acme", "api"), running(40), false, nil, false, events.LimitReached, 40, 60},
		{"a new window", near, past, false, nil, true, events.WithinLimit, 0, 100},
		{"documents lag behind the cache", near, running(50), true, nil, true, events.NearLimit, 90, 10},
		{"documents know more", near, running(95), true, nil, true, events.NearLimit, 95, 5},
	} {
		catalog := testCatalog()
		g, _ := catalog.Gate("api")
		if c.gate != nil {
			c.gate(g)
		}
		u := usageOf{Windows: []records.Window{c.window}, exact: !c.inexact}
		b.cache.gates.Gates = []events.Gate{{Feature: "api", Off: c.reason == events.GateOff}}
		d := b.srv.later(&catalog, g, c.cached, u, testNow)
		if d.Allowed != c.allowed || d.Reason != c.reason || d.Used != events.Some(events.Count(c.used)) {
			t.Errorf("%s: %+v", c.name, d)
		}
		if c.remain >= 0 && d.Remaining != events.Some(events.Count(c.remain)) || c.remain < 0 && d.Remaining.Valid {
			t.Errorf("%s: remaining %v", c.name, d.Remaining)
		}
		if d.WouldBlock != (c.reason == events.Shadow) {
			t.Errorf("%s: would_block %v", c.name, d.WouldBlock)
		}
		if !d.Allowed && (d.Message == "" || d.UnblocksAt == nil || d.UpgradeURL == "") {
			t.Errorf("%s: an incomplete block %+v", c.name, d)
		}
	}
}

func TestCheckAsksTheOwner(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.owner("aggregator", func(customer string) any {
		w := running(100)
		w.Customer = customer
		return usageOf{Windows: []records.Window{w}, AsOf: testNow}
	})
	d := b.want(200, "GET", "/v1/check?customer=a%40b.c&feature=api", "").json(t)
	if d["customer"] != "a@b.c" || d["allowed"] != false || d["reason"] != "limit_reached" || d["used"] != 100.0 || d["remaining"] != 0.0 ||
		d["window_start"] != "2026-03-09T12:00:00Z" || d["unblocks_at"] != "2026-03-11T12:00:00Z" || d["as_of"] != "2026-03-10T12:00:00Z" {
		t.Errorf("%v", d)
	}
}

func TestCheckAndViewAreAsOfTheSame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct{ decided, counted, want time.Time }{ // zero: nothing was put, nothing was counted
		{time.Time{}, time.Time{}, testNow},
		{time.Time{}, testNow.Add(-time.Hour), testNow.Add(-time.Hour)},
		{testNow.Add(-time.Minute), testNow.Add(-time.Hour), testNow.Add(-time.Minute)},
		{testNow.Add(-time.Hour), testNow.Add(-time.Minute), testNow.Add(-time.Minute)},
	} {
		told := blocked("acme", "api")
		told.Reason, told.DecidedAt, told.AsOf = events.NotInPlan, c.decided, c.decided
		b.cache.set(told)
		stop := []func(){
			b.owner("enforcer", func(string) any { return standing{Known: true, Decisions: []events.Decision{told}} }),
			b.owner("aggregator", func(string) any { return usageOf{AsOf: c.counted} }),
		}
		check := b.want(200, "GET", "/v1/check?customer=acme&feature=api", "").json(t)
		view := b.want(200, "GET", "/v1/customers/acme", "").json(t)["decisions"].([]any)[0].(map[string]any)
		if want := c.want.Format(time.RFC3339); check["as_of"] != want || view["as_of"] != want {
			t.Errorf("%+v: the check is as of %v, the view as of %v", c, check["as_of"], view["as_of"])
		}
		for _, f := range stop {
			f()
		}
	}
}

// The aggregator's rolling window has no start, and ends now.
func TestCheckAndViewOfARollingWindow(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		c := testCatalog()
		c.Gates[0].Window.Kind = gate.Rolling
		o.Catalog = func() *gate.Catalog { return &c }
	})
	start, long := testNow.AddDate(0, 0, -30), testNow.AddDate(0, 0, -31)
	b.owner("aggregator", func(string) any {
		w := running(100)
		w.Start, w.End = time.Time{}, testNow
		return usageOf{Windows: []records.Window{w}, AsOf: testNow}
	})
	b.owner("enforcer", func(customer string) any {
		st := standing{Known: true, Customer: records.Customer{ID: customer, Plan: "free"}}
		if customer == "blocked" {
			d := blocked(customer, "api")
			d.WindowStart = &start
			st.Decisions = append(st.Decisions, d)
		}
		return st
	})
	put := blocked("blocked", "api")
	put.WindowStart = &long // when it was put
	b.cache.set(put)
	rolls := func(what string, v any) {
		t.Helper()
		if m := v.(map[string]any); m["window_start"] != "2026-02-08T12:00:00Z" || m["window_end"] != nil {
			t.Errorf("%s: from %v to %v", what, m["window_start"], m["window_end"])
		}
	}
	for _, customer := range []string{"blocked", "new"} {
		rolls("check of "+customer, b.want(200, "GET", "/v1/check?customer="+customer+"&feature=api", "").json(t))
		v := b.want(200, "GET", "/v1/customers/"+customer, "").json(t)
		rolls("usage of "+customer, v["usage"].([]any)[0])
		d := v["decisions"].([]any)[0].(map[string]any)
		rolls("decision about "+customer, d)
		if customer == "new" && (d["allowed"] != false || d["unblocks_at"] != nil) { // buckets are not known here
			t.Errorf("%v", d)
		}
	}
}

func TestCheckWithoutOwnerReadsDocuments(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ok(t, b.store.WriteUsage(t.Context(), []records.Window{running(42)}))
	d := b.want(200, "GET", "/v1/check?customer=acme&feature=api", "").json(t)
	if d["allowed"] != true || d["used"] != 42.0 || d["remaining"] != 58.0 {
		t.Errorf("%v", d)
	}
	if d := b.want(200, "GET", "/v1/check?customer=new&feature=api", "").json(t); d["used"] != 0.0 || d["window_start"] != nil {
		t.Errorf("%v", d)
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(400, "GET", "/v1/check", "")
	b.want(400, "GET", "/v1/check?customer=acme", "")
	b.want(400, "GET", "/v1/check?customer=a%00b&feature=api", "")
	b.want(404, "GET", "/v1/check?customer=acme&feature=nothing", "")
}

func TestExplain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.owner("aggregator", func(string) any { return usageOf{Windows: []records.Window{running(12)}, AsOf: testNow} })
	limit := events.Count(50)
	b.owner("enforcer", func(customer string) any {
		return standing{Customer: records.Customer{ID: customer, Plan: "free", Overrides: map[string]gate.Override{"api": {Limit: &limit, Reason: "trial"}}}}
	})
	e := b.want(200, "GET", "/v1/explain?customer=acme&feature=api", "").json(t)
	owner := e["owner"].(map[string]any)
	if e["plan"] != "free" || e["plan_limit"] != "100" || e["override"].(map[string]any)["reason"] != "trial" || len(e["windows"].([]any)) != 1 ||
		owner["limit"] != 50.0 || owner["reason"] != "override" || e["decision"].(map[string]any)["used"] != 12.0 {
		t.Errorf("%v", e)
	}
	b.want(404, "GET", "/v1/explain?customer=acme&feature=x", "")
}

func TestAuth(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.cache.set(blocked("full", "api"))
	none := blocked("barred", "api")
	none.Reason = events.NotInPlan
	b.cache.set(none)
	unknown := events.Decision{Customer: "unknown", Feature: "api", Reason: events.NoDecision}
	b.cache.set(unknown)
	as := func(customer string) string { return "X-Customer-Id: " + customer }
	const post, uri = "X-Forwarded-Method: POST", "X-Forwarded-Uri: /api/features/x?y=1"
	for _, c := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"allowed", "GET", "/v1/auth", []string{post, uri, as("acme")}, 204},
		{"blocked", "GET", "/v1/auth", []string{post, uri, as("full")}, 402},
		{"blocked for nginx", "GET", "/v1/auth?deny=403", []string{post, uri, as("full")}, 403},
		{"not in plan", "GET", "/v1/auth", []string{post, uri, as("barred")}, 403},
		{"not known yet", "GET", "/v1/auth", []string{post, uri, as("unknown")}, 503},
		{"X-Original", "GET", "/v1/auth", []string{"X-Original-Method: POST", "X-Original-URI: /api/features/x", as("full")}, 402},
		{"whole URL", "GET", "/v1/auth", []string{post, "X-Original-Url: https://h/api/features/x", as("full")}, 402},
		{"Envoy", "POST", "/v1/auth/api/features/x", []string{as("full")}, 402},
		{"Envoy, what a visitor sends", "POST", "/v1/auth/api/features/x", []string{"X-Forwarded-Uri: /free", as("full")}, 400},
		{"another method", "GET", "/v1/auth", []string{"X-Forwarded-Method: GET", uri, as("full")}, 204},
		{"another path", "GET", "/v1/auth", []string{post, "X-Forwarded-Uri: /api/feature", as("full")}, 204},
		{"escaped", "GET", "/v1/auth", []string{post, "X-Forwarded-Uri: /api/%66eatures/x", as("full")}, 402},
		{"doubled slashes", "GET", "/v1/auth", []string{post, "X-Forwarded-Uri: //api/./x/../features/x", as("full")}, 402},
		{"no trigger, no customer", "DELETE", "/v1/auth", []string{post, "X-Forwarded-Uri: /free"}, 204},
		{"no customer", "GET", "/v1/auth", []string{post, uri}, 401},
	} {
		if a := b.call(c.method, c.path, "", c.headers...); a.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.status, a.body)
		}
	}
	a := b.want(402, "GET", "/v1/auth", "", post, uri, as("full"))
	p := a.json(t)
	if p["feature"] != "api" || p["limit"] != 100.0 || p["used"] != 100.0 || p["upgrade_url"] == "" || p["unblocks_at"] == nil ||
		a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Tidegate-Upgrade-Url") != p["upgrade_url"] {
		t.Errorf("%v %s", a.header, a.body)
	}
	passedOn := b.want(403, "GET", "/v1/auth?deny=403", "", post, uri, as("full"))
	var whole map[string]any
	ok(t, json.Unmarshal([]byte(passedOn.header.Get("X-Tidegate-Problem")), &whole))
	if passedOn.header.Get("X-Tidegate-Status") != "402" || !reflect.DeepEqual(whole, p) {
		t.Errorf("for nginx %v, want %v", passedOn.header, p)
	}
	b.want(204, "POST", "/v1/auth/api/features/x?record=1", "", as("acme"))
	if n := len(b.stored("USAGE")); n != 0 {
		t.Errorf("%d uses were recorded unasked", n)
	}
	b.want(204, "POST", "/v1/auth/api/features/x", "", as("acme"), "X-Tidegate-Record: 1")
	if u := b.usage(); len(u) != 1 {
		t.Errorf("recorded %+v", u)
	}
	b.want(402, "GET", "/v1/auth?record=1", "", post, uri, as("full"))
	b.want(204, "GET", "/v1/auth?record=1", "", post, uri, as("acme"))
	if u := b.usage(); len(u) != 2 || u[1].Subject != "acme" || u[1].Type != "api" {
		t.Errorf("recorded %+v", u)
	}
}

func TestKeysAndScopes(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("all, app:events, dash:read ,ops:admin,both:events+read")
	ok(t, err)
	b := newBench(t, func(o *Options) { o.Keys = func() Keys { return keys } })
	for _, c := range []struct {
		key, method, path, body string
		status                  int
	}{
		{"", "GET", "/v1/gates", "", 401},
		{"wrong", "GET", "/v1/gates", "", 401},
		{"all", "GET", "/v1/gates", "", 200},
		{"app", "GET", "/v1/gates", "", 403},
		{"both", "GET", "/v1/gates", "", 200},
		{"app", "POST", "/v1/events", oneEvent, 202},
		{"dash", "POST", "/v1/events", oneEvent, 403},
		{"ops", "PUT", "/v1/gates/api", `{"off":true}`, 200},
		{"both", "PUT", "/v1/gates/api", `{"off":true}`, 403},
		{"app", "PUT", "/v1/customers/acme", `{"email":"ada@acme.example"}`, 200},
		{"app", "PUT", "/v1/customers/acme", `{"plan":"pro"}`, 403},
		{"ops", "PUT", "/v1/customers/acme", `{"plan":"pro"}`, 200},
		{"app", "DELETE", "/v1/customers/acme", "", 403},
		{"", "GET", "/livez", "", 200},
	} {
		b.key = c.key
		if a := b.call(c.method, c.path, c.body); a.status != c.status {
			t.Errorf("%s %s %s: %d, want %d: %s", c.key, c.method, c.path, a.status, c.status, a.body)
		}
	}
	b.key = ""
	b.want(http.StatusForbidden, "GET", "/v1/auth?record=1", "", "X-Tidegate-Key: dash")
}

func TestASCIIJSON(t *testing.T) {
	t.Parallel()
	const text = "Größe 🙂 <b> \"q\" \u2028"
	b, err := json.Marshal(text)
	ok(t, err)
	var back string
	ascii := asciiJSON(b)
	ok(t, json.Unmarshal([]byte(ascii), &back))
	if back != text || headerText(ascii) != ascii {
		t.Errorf("%q became %s, read back as %q", text, ascii, back)
	}
}
