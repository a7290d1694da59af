package ingest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// said returns the changes in ACCOUNT that give an address: the fold, which tells of
// Stripe customers there, gives none.
func (b *bench) said() []records.Account {
	b.t.Helper()
	return slices.DeleteFunc(b.accounts(), func(a records.Account) bool { return a.Email == nil })
}

func TestPutCustomer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.folds()
	// An owner that has the change by the time it answers.
	b.owner("enforcer", func(customer string) any {
		a := b.said()[0]
		return standing{Customer: records.Customer{ID: customer, Plan: a.Plan.Name, Email: *a.Email, Anchor: a.Anchor, Overrides: map[string]gate.Override{"api": *a.Overrides["api"]}}}
	})
	b.owner("aggregator", func(string) any { return usageOf{Windows: []records.Window{running(12)}} })
	body := `{"email":"ada@acme.example","plan":"free","anchor":"2026-03-01T00:00:00+01:00","locale":"pt-BR","stripe_customer":"cus_1",
		"overrides":{"api":{"grant":50,"until":"2026-04-01T00:00:00Z","reason":"sorry"},"tokens":null}}`
	got := b.want(200, "PUT", "/v1/customers/acme", body).json(t)
	if again := b.want(200, "GET", "/v1/customers/acme", "").json(t); fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("GET %v\nPUT %v", again, got)
	}
	usage := got["usage"].([]any)[0].(map[string]any)
	if got["customer"] != "acme" || got["email"] != "ada@acme.example" || got["plan"] != "free" || got["anchor"] != "2026-02-28T23:00:00Z" ||
		usage["feature"] != "api" || usage["used"] != 12.0 || usage["limit"] != 150.0 || usage["window_end"] == nil || len(got["decisions"].([]any)) != 2 {
		t.Errorf("%v", got)
	}
	a := b.said()[0]
	o := a.Overrides["api"]
	if *a.Locale != "pt-BR" || *a.StripeCustomer != "cus_1" || *o.Grant != events.Count(50) || !o.At.Equal(testNow) || o.Reason != "sorry" {
		t.Errorf("%+v", a)
	}
	if none, there := a.Overrides["tokens"]; !there || none != nil {
		t.Errorf("the override was not taken back: %+v", a.Overrides)
	}
	m := b.stored("BILLING")
	if len(m) != 1 || m[0].Subject != "billing.map" || string(m[0].Data) != `{"customer":"acme","stripe_customer":"cus_1","unless_taken":true}` {
		t.Errorf("%v", m)
	}
}

// The enforcer need not know usage that changes no decision; the view does.
func TestViewJoinsBothOwners(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.owner("enforcer", func(customer string) any {
		if customer != "acme" {
			return standing{Customer: records.Customer{ID: customer, Plan: "free"}, Decisions: []events.Decision{b.cache.Check(customer, "api")}}
		}
		return standing{Known: true, Customer: records.Customer{ID: customer, Plan: "free", StripeEmail: "pay@acme.example"}, Decisions: []events.Decision{b.cache.Check(customer, "api")}}
	})
	b.owner("aggregator", func(customer string) any {
		if customer != "acme" {
			return usageOf{}
		}
		past := running(3)
		past.Start, past.End = past.Start.AddDate(0, 0, -30), past.Start
		return usageOf{Windows: []records.Window{past, running(85)}, AsOf: testNow}
	})
	v := b.want(200, "GET", "/v1/customers/acme", "").json(t)
	d := v["decisions"].([]any)[0].(map[string]any)
	if d["used"] != 85.0 || d["reason"] != "near_limit" || d["remaining"] != 15.0 || v["email"] != "pay@acme.example" || len(v["usage"].([]any)) != 1 {
		t.Errorf("%v", v)
	}
	b.want(404, "GET", "/v1/customers/stranger", "")
}

// The owner of a customer's partition need not know the switch.
func TestViewOfAGateThatIsOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	shadow := blocked("acme", "tokens")
	shadow.Allowed, shadow.Reason, shadow.WouldBlock = true, events.Shadow, true
	b.owner("enforcer", func(customer string) any {
		return standing{Known: true, Customer: records.Customer{ID: customer, Plan: "free"}, Decisions: []events.Decision{blocked(customer, "api"), shadow}}
	})
	b.owner("aggregator", func(string) any { return usageOf{Windows: []records.Window{running(100)}, AsOf: testNow} })
	b.cache.gates, b.cache.synced = events.Gates{Gates: []events.Gate{{Feature: "api", Off: true}, {Feature: "tokens", Off: true}}}, true
	off := func(d any) {
		t.Helper()
		m := d.(map[string]any)
		if m["allowed"] != true || m["reason"] != "gate_off" || m["unblocks_at"] != nil || m["message"] != nil || m["would_block"] != nil {
			t.Errorf("%v", m)
		}
	}
	ds := b.want(200, "GET", "/v1/customers/acme", "").json(t)["decisions"].([]any)
	off(ds[0])
	off(ds[1])
	off(b.want(200, "GET", "/v1/explain?customer=acme&feature=api", "").json(t)["owner"])
}

func TestNullsOfACustomer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(200, "PUT", "/v1/customers/acme", `{"plan":null,"email":null,"stripe_customer":""}`)
	a := b.accounts()[0]
	if a.Plan == nil || a.Plan.Name != "" || a.Email == nil || *a.Email != "" || a.Locale != nil || a.Anchor != nil {
		t.Errorf("%+v", a)
	}
	if m := b.stored("BILLING"); len(m) != 1 || string(m[0].Data) != `{"customer":"acme","stripe_customer":""}` {
		t.Errorf("the Stripe customers are not taken back: %+v", m)
	}
}

func TestCustomerIDsOfAnyKind(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i, id := range []string{"a/b", "a//b", "...", ".a", "a@b.c", "é ü", "50%", "a?b#c", "+"} {
		path := "/v1/customers/" + strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
		if got := b.want(200, "PUT", path, `{"locale":"de"}`).json(t); got["customer"] != id {
			t.Errorf("%q: %v", id, got)
		}
		if a := b.accounts(); len(a) != i+1 || a[i].Customer != id {
			t.Errorf("%q: %+v", id, a)
		}
	}
	for _, path := range []string{"a%00b", "%2E", "%2E%2E", "%ED%A0%80", "user%E2%80%AEgnp"} {
		b.want(400, "PUT", "/v1/customers/"+path, `{}`)
	}
	b.want(400, "PUT", "/v1/customers/"+strings.Repeat("x", 257), `{}`)
	b.want(404, "PUT", "/v1/customers/a/b", `{}`)
}

func TestCustomerMistakesAreNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct{ body, detail string }{
		{``, "breaks off"},
		{`{"email":`, "breaks off"},
		{`[]`, "JSON object"},
		{`{} {}`, "more than one"},
		{`{"mail":"a@b.c"}`, `unknown field "mail"`},
		{`{"email":"a@b.c","email":"d@b.c"}`, "`email` stands twice"},
		{`{"Email":"a@b.c"}`, "`Email` is not known"},
		{`{"overrides":{"api":{"limit":1,"limit":2}}}`, "`limit` stands twice"},
		{`{"id":"\ud800"}`, "surrogate"},
		{`{"email":"ada"}`, "`email`"},
		{`{"email":"Ada <ada@acme.example>"}`, "`email`"},
		{`{"email":7}`, "wrong type"},
		{`{"locale":"english please"}`, "`locale`"},
		{`{"stripe_customer":"cus 1"}`, "`stripe_customer`"},
		{`{"plan":"gold"}`, "use free, pro"},
		{`{"anchor":"yesterday"}`, "`anchor`"},
		{`{"anchor":null}`, "`anchor`"},
		{`{"anchor":"1066-10-14T00:00:00Z"}`, "`anchor`"},
		{`{"overrides":null}`, "`overrides`"},
		{`{"overrides":{"nothing":{"limit":1}}}`, "no gate"},
		{`{"overrides":{"api":{}}}`, "needs `limit`, `grant` or both"},
		{`{"overrides":{"api":{"limit":"unlimited","grant":1}}}`, "`grant` can add nothing"},
		{`{"overrides":{"api":{"Limit":1}}}`, "`overrides`: `Limit` is not known"},
		{`{"overrides":{"api":{"limit":1,"reson":"x"}}}`, "`overrides`: unknown field \"reson\""},
		{`{"overrides":{"api":{"limit":1,"LIMIT":2}}}`, "`LIMIT` is not known"},
		{`{"overrides":{"api":7}}`, "`overrides`: a JSON object is needed, not number"},
		{`{"overrides":{"api":{"limit":1,"reason":"\u001b[2J"}}}`, "`overrides.api.reason`: the reason has the character U+001B"},
		{`{"overrides":{"api":{"limit":1,"reason":"a\u202eb"}}}`, "U+202E"},
		{`null`, "a JSON object is needed, not null"},
		{`[]`, "a JSON object is needed, not array"},
		{`"acme"`, "a JSON object is needed, not string"},
		{`{"overrides":{"api":{"limit":-1}}}`, "`overrides.api.limit`"},
		{`{"overrides":{"api":{"limit":"endless"}}}`, "`overrides.api.limit`"},
		{`{"overrides":{"api":{"grant":0}}}`, "more than 0"},
		{`{"overrides":{"api":{"limit":1.5}}}`, "`overrides.api.limit` 1.5 has a fraction"},
		{`{"overrides":{"api":{"grant":"0.5"}}}`, "`overrides.api.grant` \"0.5\" has a fraction"},
		{`{"overrides":{"api":{"limit":1,"until":"soon"}}}`, "`overrides.api.until`"},
		{`{"id":"other"}`, "differs"},
	} {
		p := b.want(400, "PUT", "/v1/customers/acme", c.body).json(t)
		if d := p["detail"].(string); !strings.Contains(d, c.detail) {
			t.Errorf("%s: %s", c.body, d)
		}
	}
	if n := len(b.accounts()); n != 0 {
		t.Errorf("%d changes were stored", n)
	}
}

func TestOverridesOfASumMayHaveFractions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(200, "PUT", "/v1/customers/acme", `{"overrides":{"tokens":{"limit":1.5},"api":{"limit":2.0}}}`)
	o := b.accounts()[0].Overrides
	if o["tokens"].Limit.String() != "1.5" || o["api"].Limit.String() != "2" {
		t.Errorf("%+v", o)
	}
}

func TestAnOverrideMayHaveALimitAndAGrantOrNoLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(200, "PUT", "/v1/customers/acme", `{"overrides":{"api":{"limit":500,"grant":50},"tokens":{"limit":"unlimited"}}}`)
	o := b.accounts()[0].Overrides
	if o["api"].Limit.String() != "500" || o["api"].Grant.String() != "50" || o["api"].Unlimited {
		t.Errorf("api: %+v", o["api"])
	}
	if !o["tokens"].Unlimited || o["tokens"].Limit != nil {
		t.Errorf("tokens: %+v", o["tokens"])
	}
}

func TestManyCustomers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.folds()
	var list []string
	for i := range 500 {
		list = append(list, fmt.Sprintf(`{"id":"c%d","email":"c%d@acme.example","stripe_customer":"cus_%d"}`, i, i, i))
	}
	list = append(list, `{"email":"a@b.c"}`, `{"id":"x","plan":"gold"}`, `{"id"}`)
	a := b.want(http.StatusAccepted, "POST", "/v1/customers", "["+strings.Join(list, ",")+"]")
	var r receipt
	ok(t, json.Unmarshal(a.body, &r))
	if r.Accepted != 500 || len(r.Rejected) != 3 || r.Rejected[1].ID != "x" || r.Rejected[1].Index != 501 {
		t.Errorf("%s", a.body)
	}
	if len(b.said()) != 500 || len(b.stored("BILLING")) != 500 {
		t.Errorf("%d changes, %d mappings", len(b.said()), len(b.stored("BILLING")))
	}
	b.want(400, "POST", "/v1/customers", `[{"id":""}]`)
	b.want(413, "POST", "/v1/customers", "["+strings.Repeat(`{"id":"a"},`, maxBatchEvents)+`{"id":"a"}]`)
}

func TestDeleteCustomer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(http.StatusNoContent, "DELETE", "/v1/customers/acme", "")
	if a := b.accounts(); len(a) != 1 || !a[0].Erase {
		t.Errorf("%+v", a)
	}
	if m := b.stored("BILLING"); len(m) != 1 || string(m[0].Data) != `{"customer":"acme","stripe_customer":""}` {
		t.Errorf("the mapping stays: %+v", m)
	}
	b.want(404, "GET", "/v1/customers/acme", "")
}

func TestListCustomers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var customers []records.Customer
	var windows []records.Window
	for i := range 10 {
		id := fmt.Sprintf("c%02d", i)
		w := running(int64(i * 10))
		w.Customer = id
		windows = append(windows, w)
		if i%2 == 0 { // the others are known by their usage only
			c := records.Customer{ID: id, Plan: "free", UpdatedAt: testNow}
			if i == 4 {
				c.Plan = "pro"
			}
			customers = append(customers, c)
		}
	}
	second := running(99)
	second.Customer, second.Feature = "c01", "tokens"
	customers = append(customers, records.Customer{ID: "sleepy", Plan: "pro", UpdatedAt: testNow})
	ok(t, b.store.WriteUsage(t.Context(), append(windows, second)))
	ok(t, b.store.WriteCustomers(t.Context(), customers))
	b.cache.set(blocked("c08", "api"))
	pro := events.Decision{Customer: "c04", Feature: "api", Allowed: true, Reason: events.Unlimited, Plan: "pro"}
	b.cache.set(pro)
	barred := blocked("c02", "tokens")
	barred.Reason = events.NotInPlan
	b.cache.set(barred)

	list := func(query string) string {
		var ids []string
		next := ""
		for range 20 {
			a := b.want(200, "GET", "/v1/customers?"+query+"&cursor="+next, "").json(t)
			for _, c := range a["customers"].([]any) {
				ids = append(ids, c.(map[string]any)["customer"].(string))
			}
			if a["next"] == nil {
				return strings.Join(ids, " ")
			}
			next = a["next"].(string)
		}
		t.Fatal("the list does not end")
		return ""
	}
	for query, want := range map[string]string{
		"limit=3":          "c00 c02 c04 c06 c08 sleepy c01 c03 c05 c07 c09",
		"":                 "c00 c02 c04 c06 c08 sleepy c01 c03 c05 c07 c09",
		"near=0.8":         "c08 c01 c09",
		"near=0.8&limit=1": "c08 c01 c09",
		"blocked=true":     "c02 c08",
		"blocked=false":    "c00 c04 c06 sleepy c01 c03 c05 c07 c09",
		"plan=pro":         "c04 sleepy",
		"plan=free":        "c00 c02 c06 c08 c01 c03 c05 c07 c09",
		"idle=14d":         "sleepy",
	} {
		if got := list(query); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	for _, bad := range []string{"near=2", "near=x", "near=0.805", "blocked=maybe", "idle=14", "limit=0", "limit=100000", "cursor=!"} {
		b.want(400, "GET", "/v1/customers?"+bad, "")
	}
}

func TestGates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := b.want(200, "GET", "/v1/gates", "").json(t)
	if g["default_plan"] != "free" || len(g["gates"].([]any)) != 2 {
		t.Errorf("before the first sync: %v", g)
	}
	b.cache.gates, b.cache.synced = events.Gates{DefaultPlan: "starter", UpdatedAt: testNow}, true
	if g := b.want(200, "GET", "/v1/gates", "").json(t); g["default_plan"] != "starter" {
		t.Errorf("%v", g)
	}
	b.want(200, "PUT", "/v1/gates/api", `{"off":true}`)
	m := b.stored("ACCOUNT")
	if len(m) != 1 || m[0].Subject != "account.0" || string(m[0].Data) != `{"gate":{"feature":"api","off":true}}` {
		t.Errorf("%v", m)
	}
	if got := b.want(200, "PUT", "/v1/gates/api", `{"off":true,"until":"2026-03-11T12:00:00+02:00"}`).body; string(got) != `{"feature":"api","off":true,"until":"2026-03-11T10:00:00Z"}`+"\n" {
		t.Errorf("%s", got)
	}
	b.want(400, "PUT", "/v1/gates/api", `{"off":true,"until":"2026-03-10T12:00:00Z"}`)
	b.want(400, "PUT", "/v1/gates/api", `{"off":true,"until":"tomorrow"}`)
	b.want(400, "PUT", "/v1/gates/api", `{"off":false,"until":"2026-03-11T12:00:00Z"}`)
	b.want(404, "PUT", "/v1/gates/nothing", `{"off":true}`)
	b.want(400, "PUT", "/v1/gates/api", `{}`)
	b.want(400, "PUT", "/v1/gates/api", `{"on":true}`)
}

func TestFunnel(t *testing.T) {
	t.Parallel()
	type asked struct {
		From, To time.Time
		By       string
		N, C     int
	}
	b := newBench(t, func(o *Options) {
		o.Funnel = func(from, to time.Time, by string, n []records.Notification, c []records.Conversion) any {
			return asked{from, to, by, len(n), len(c)}
		}
	})
	ok(t, b.store.WriteConversion(t.Context(), records.Conversion{Key: "k", Customer: "acme", ConvertedAt: testNow.Add(-time.Hour)}))
	if a := b.want(200, "GET", "/v1/funnel", "").json(t); a["C"] != 1.0 || a["From"] != "2026-02-08T12:00:00Z" || a["To"] != "2026-03-10T12:00:00Z" {
		t.Errorf("%v", a)
	}
	if a := b.want(200, "GET", "/v1/funnel?from=2026-03-01&to=2026-03-02T06:00:00Z&by=week", "").json(t); a["C"] != 0.0 || a["By"] != "week" || a["To"] != "2026-03-02T06:00:00Z" {
		t.Errorf("%v", a)
	}
	for _, bad := range []string{"by=day", "from=x", "from=2026-03-02&to=2026-03-01"} {
		b.want(400, "GET", "/v1/funnel?"+bad, "")
	}
}

// TestBoundsOfOverrides: what is set must be of a gate, and what is taken back may be
// of one that is gone.
func TestBoundsOfOverrides(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	many := func(n int, value string) string {
		var list strings.Builder
		for i := range n {
			fmt.Fprintf(&list, `,"gone%d":%s`, i, value)
		}
		return `{"overrides":{` + list.String()[1:] + `}}`
	}
	for _, c := range []struct {
		body   string
		status int
		says   string
	}{
		{many(100, "null"), 200, ""},
		{many(1, `{"limit":5}`), 400, "`overrides.gone0`: no gate has this feature"},
		{many(103, "null"), 400, "103 features, at most 102"},
		{many(30_000, `{"limit":5}`), 400, "30000 features, at most 102"},
		{`{"overrides":{"` + strings.Repeat("x", 129) + `":null}}`, 400, "cannot be named"},
		{`{"overrides":{"api":{"limit":5,"until":"2026-03-10T12:00:00Z"}}}`, 400, "has passed"},
		{`{"overrides":{"api":{"limit":5,"until":"2026-03-10T12:00:01Z"}}}`, 200, ""},
		{`{"overrides":{"api":{"limit":5,"until":"2201-01-01T00:00:00Z"}}}`, 400, "years 1970 to 2200"},
		{`{"overrides":{"api":{"limit":5,"reason":"` + strings.Repeat("x", 501) + `"}}}`, 400, "at most 500"},
		{`{"email":"` + strings.Repeat("a", 251) + `@b.c"}`, 400, "not a mail address"},
		{`{"locale":"` + strings.Repeat("a", 60) + `"}`, 400, "not a language tag"},
		{`{"stripe_customer":"` + strings.Repeat("a", 256) + `"}`, 400, "not a Stripe customer"},
	} {
		if a := b.call("PUT", "/v1/customers/acme", c.body); a.status != c.status || !strings.Contains(string(a.body), c.says) {
			t.Errorf("%.60s: %d %.300s", c.body, a.status, a.body)
		}
	}
	b.want(400, "PUT", "/v1/customers/"+strings.Repeat("a", 257), `{}`)
	got := b.want(202, "POST", "/v1/customers", `[{"id":"acme","overrides":{"gone":{"limit":5}}},{"id":"acme","overrides":{"gone":null}}]`).json(t)
	if rejected := got["rejected"].([]any); len(rejected) != 1 || !strings.Contains(fmt.Sprint(rejected[0]), "no gate has this feature") {
		t.Errorf("%v", got)
	}
}
