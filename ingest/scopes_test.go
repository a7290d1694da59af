package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// secrets of a customer, none of which a key without the scope read may see.
var secrets = []string{"ada@acme.example", "cus_victim", "because Ada asked", "/u/signed", `"plan"`, `"anchor"`, `"limit"`, `"used"`, "bounced"}

// victim is what the owners say about a customer.
func (b *bench) victim() {
	anchor := testNow.Add(-time.Hour)
	c := records.Customer{ID: "victim", Email: "ada@acme.example", StripeCustomer: "cus_victim", Plan: "free", Anchor: &anchor, Suppressed: "bounced",
		Overrides: map[string]gate.Override{"api": {Reason: "because Ada asked", Grant: new(events.Count(7))}}}
	d := blocked("victim", "api")
	d.UpgradeURL = "https://acme.example/u/signed"
	b.cache.set(d)
	b.owner(stream.RoleEnforcer, func(string) any { return standing{Known: true, Customer: c, Decisions: []events.Decision{d}} })
	b.owner(stream.RoleAggregator, func(string) any {
		return usageOf{Windows: []records.Window{{Customer: "victim", Feature: "api", Start: anchor, End: testNow.Add(time.Hour), Used: events.Count(100)}}, AsOf: testNow}
	})
}

// attempt is a request and what it takes.
type attempt struct {
	route, path, body string // path: where it is not the route
	header            string
	needs             []Scope
	status            int  // with these scopes
	hidden            bool // whether less is answered without the scope read, which it does not take
	shows             bool // whether it shows what was said of customers without that scope
}

// attempts are at least one for each route.
func attempts() []attempt {
	read, events, admin := []Scope{ScopeRead}, []Scope{ScopeEvents}, []Scope{ScopeAdmin}
	put := func(body string, needs []Scope) attempt {
		return attempt{route: "PUT /v1/customers/{id}", path: "/v1/customers/victim", body: body, needs: needs, status: 200, hidden: true}
	}
	return []attempt{
		{route: "POST /v1/events", body: `{"type":"api","subject":"victim"}`, needs: events, status: 202},
		{route: "POST /v1/events", body: `[{"type":"api","subject":"victim","id":"1"},{"type":"tokens","subject":"victim"},{"type":"typo","subject":"victim","id":"2"}]`, needs: events, status: 202},
		{route: "GET /v1/check", path: "/v1/check?customer=victim&feature=api", needs: read, status: 200},
		{route: "GET /v1/decisions", needs: read, status: 200},
		{route: "GET /v1/gates", needs: read, status: 200},
		{route: "PUT /v1/gates/{feature}", path: "/v1/gates/api", body: `{"off":false}`, needs: admin, status: 200},
		{route: "GET /v1/customers", needs: read, status: 200},
		{route: "POST /v1/customers", body: `[{"id":"victim","email":"eve@acme.example"},{"id":"victim","locale":"what"}]`, needs: events, status: 202},
		{route: "POST /v1/customers", body: `{"id":"victim","email":"eve@acme.example","plan":"pro"}`, needs: admin, status: 202},
		{route: "POST /v1/customers", body: `{"id":"victim","anchor":"2026-01-01T00:00:00Z"}`, needs: admin, status: 202},
		{route: "POST /v1/customers", body: `{"id":"victim","overrides":{"api":{"limit":5}}}`, needs: admin, status: 202},
		{route: "POST /v1/customers", body: `{"id":"victim","stripe_customer":null}`, needs: admin, status: 202},
		{route: "POST /v1/customers", body: `{"id":"thief","stripe_customer":"cus_other"}`, needs: admin, status: 400},
		{route: "PUT /v1/customers/{id}", path: "/v1/customers/thief", body: `{"stripe_customer":"cus_other"}`, needs: admin, status: 409},
		{route: "GET /v1/customers/{id}", path: "/v1/customers/victim", needs: read, status: 200},
		{route: "GET /v1/customers/{id}/data", path: "/v1/customers/victim/data", needs: []Scope{ScopeAdmin, ScopeRead}, status: 200},
		put(`{}`, events), put(`{"email":"eve@acme.example","locale":"de"}`, events),
		put(`{"plan":"pro"}`, admin), put(`{"anchor":"2026-01-01T00:00:00Z"}`, admin), put(`{"overrides":{"api":null}}`, admin),
		put(`{"stripe_customer":""}`, admin),
		{route: "GET /v1/audit", needs: admin, status: 200, shows: true},
		{route: "DELETE /v1/customers/{id}", path: "/v1/customers/victim", needs: admin, status: 204},
		{route: " /v1/auth", header: "X-Customer-Id: victim", needs: read, status: 204},
		{route: " /v1/auth", path: "/v1/auth?record=1", header: "X-Customer-Id: someone", needs: []Scope{ScopeRead, ScopeEvents}, status: 204},
		{route: " /v1/auth/{rest...}", path: "/v1/auth/free", header: "X-Customer-Id: victim", needs: read, status: 204},
		{route: "GET /v1/stripe/unmapped", needs: read, status: 200},
		{route: "GET /v1/funnel", needs: read, status: 501},
		{route: "GET /v1/explain", path: "/v1/explain?customer=victim&feature=api", needs: read, status: 200},
		// Who may set something sees in the audit log what was set, also without the scope read.
		{route: "GET /v1/audit", path: "/v1/audit?customer=someone", needs: admin, status: 200},
		{route: "POST /v1/adjust", needs: admin, status: 501},
		{route: "POST /v1/void", needs: admin, status: 501},
		{route: "GET /livez", status: 200},
		{route: "GET /readyz", status: 503, hidden: true},
		{route: "GET /metrics", status: 200},
		{route: "GET /{$}", path: "/", status: 200},
		{route: "GET /page/app.js", status: 200},
		{route: "GET /page/style.css", status: 200},
	}
}

// TestEveryRouteWithEveryKey: what a key was not given, it neither does nor sees, on
// any route. A new route must be tried here, too.
func TestEveryRouteWithEveryKey(t *testing.T) {
	t.Parallel()
	sets := [][]Scope{nil, {ScopeEvents}, {ScopeRead}, {ScopeAdmin}, {ScopeEvents, ScopeRead}, {ScopeEvents, ScopeAdmin}, {ScopeRead, ScopeAdmin}, allScopes()}
	var list []string
	for i, set := range sets[1:] {
		list = append(list, fmt.Sprintf("k%d:key of set %d:%s", i+1, i+1, scopesText(set)))
	}
	keys, err := ParseKeys(strings.Join(list, ","))
	ok(t, err)
	b := newBench(t, func(o *Options) {
		o.Keys = func() Keys { return keys }
		o.Ready = map[string]func(context.Context) error{"store": func(context.Context) error { return errors.New("db.internal refused") }}
	})
	b.victim()
	b.folds()
	_, err = b.js.Publish(t.Context(), "billing.map", []byte(`{"customer":"somebody","stripe_customer":"cus_other"}`))
	ok(t, err)
	var untried []string
	for _, r := range b.srv.privateRoutes() {
		untried = append(untried, r.method+" "+r.path)
	}
	for _, a := range attempts() {
		untried = slices.DeleteFunc(untried, func(r string) bool { return r == a.route })
		for i, set := range sets {
			b.try(a, set, i)
		}
	}
	if len(untried) > 0 {
		t.Errorf("routes that were not tried: %q", untried)
	}
}

func scopesText(set []Scope) string {
	var b strings.Builder
	for i, s := range set {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(string(s))
	}
	return b.String()
}

// try makes a request with the key of a set of scopes, 0 being none.
func (b *bench) try(a attempt, set []Scope, key int) {
	b.t.Helper()
	method, path, _ := strings.Cut(a.route, " ")
	if a.path != "" {
		path = a.path
	}
	switch {
	case method == "":
		method = http.MethodPost
	case path == "/v1/decisions": // a GET would not end
		method = http.MethodHead
	}
	var headers []string
	if a.header != "" {
		headers = append(headers, a.header)
	}
	if b.key = ""; key > 0 {
		b.key = fmt.Sprintf("key of set %d", key)
	}
	c := caller{Scopes: set}
	want := a.status
	switch {
	case len(a.needs) > 0 && key == 0:
		want = 401
	case slices.ContainsFunc(a.needs, func(s Scope) bool { return !c.can(s) }):
		want = 403
	}
	if want == 403 && a.route == "POST /v1/customers" && c.can(ScopeEvents) {
		want = 400 // its only element is rejected
	}
	who := fmt.Sprintf("%s %s %s with %q", method, path, a.body, scopesText(set))
	got := b.call(method, path, a.body, headers...)
	if got.status != want {
		b.t.Errorf("%s: %d, want %d: %s", who, got.status, want, got.body)
	}
	if want == http.StatusBadRequest && a.status != want && !bytes.Contains(got.body, []byte(`lacks the scope \"admin\"`)) {
		b.t.Errorf("%s: %s", who, got.body)
	}
	shows := c.can(ScopeRead) || a.shows
	for _, s := range append(secrets, "db.internal") {
		if there := bytes.Contains(got.body, []byte(s)) || strings.Contains(fmt.Sprint(got.header), s); there && !shows && !openRoute(a.route) {
			b.t.Errorf("%s sees %s: %s", who, s, got.body)
		}
	}
	if a.hidden && shows && method == http.MethodPut && want < 400 && !bytes.Contains(got.body, []byte("ada@acme.example")) {
		b.t.Errorf("%s does not see the customer: %s", who, got.body)
	}
}

// openRoute reports whether a route's answer is the same file for everybody.
func openRoute(route string) bool {
	return route == "GET /{$}" || strings.HasPrefix(route, "GET /page/")
}
