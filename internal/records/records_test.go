package records

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *time.Time {
	t := noon.Add(d)
	return &t
}

func value(n int64) *events.Value {
	v := events.Count(n)
	return &v
}

// TestJSONForms pins the stored forms: today's code must read the records of earlier
// versions.
func TestJSONForms(t *testing.T) {
	day := 24 * time.Hour
	email, lifted := "ada@acme.example", ""
	for _, c := range []struct {
		name string
		v    any
		want string
	}{
		{"an account that says nothing", Account{}, `{}`},
		{"an account", Account{Customer: "acme", Email: &email, Plan: &PlanPin{Name: "pro"}, Suppress: &lifted,
			Overrides: map[string]*gate.Override{"api": {Grant: value(50), Until: at(day), Reason: "sorry", At: at(0)}, "old": nil}},
			`{"customer":"acme","email":"ada@acme.example","plan":{"name":"pro"},` +
				`"overrides":{"api":{"grant":50,"until":"2026-07-02T12:00:00Z","reason":"sorry","at":"2026-07-01T12:00:00Z"},"old":null},"suppress":""}`},
		{"what Stripe said", Account{Customer: "acme", Subscription: &PlanState{Plan: "pro", Status: "active", Paid: true, Position: 7},
			Payment: &Payment{Key: "k", Event: "evt_1", FromPlan: "free", ToPlan: "pro", Amount: 2000, Currency: "usd", At: noon}},
			`{"customer":"acme","subscription":{"plan":"pro","status":"active","paid":true,"position":7},` +
				`"payment":{"key":"k","event":"evt_1","from_plan":"free","to_plan":"pro","amount":2000,"currency":"usd","at":"2026-07-01T12:00:00Z"}}`},
		{"a limit", Limit{Kind: LimitKindReached, Customer: "acme", Feature: "api", Plan: "free", Limit: events.Count(100), Used: events.Count(100), Percent: 100,
			WindowStart: noon, WindowEnd: noon.Add(30 * day), At: noon},
			`{"kind":"reached","customer":"acme","feature":"api","plan":"free","limit":100,"used":100,"percent":100,` +
				`"window_start":"2026-07-01T12:00:00Z","window_end":"2026-07-31T12:00:00Z","at":"2026-07-01T12:00:00Z"}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\ngot  %s %v\nwant %s", c.name, got, err, c.want)
		}
	}
}

func TestControlEvents(t *testing.T) {
	b, err := Control(ControlPlan, "acme", "account/7", PlanControl{Plan: "pro", From: noon, Cut: true})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"account/7","source":"tidegate","type":"tidegate.plan","subject":"acme",` +
		`"data":{"plan":"pro","from":"2026-07-01T12:00:00Z","cut":true}}`
	if string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
	if e, err := events.DecodeControl(b); err != nil || e.Validate() == nil {
		t.Errorf("an app may publish %+v, %v", e, err)
	}
}

func TestFenceKeyIsNoCustomers(t *testing.T) {
	key := FenceKey(3)
	if key != "=own.3" {
		t.Error(key)
	}
	token, _, _ := strings.Cut(key, ".")
	if id, err := events.ParseToken(token); err == nil {
		t.Errorf("it is the key of customer %q", id)
	}
}

func TestDocumentIDs(t *testing.T) {
	w := Window{Customer: "acme", Feature: "api", Start: noon.In(time.FixedZone("", 7200))}
	if got := w.ID(); got != "acme/api/2026-07-01T12:00:00Z" {
		t.Error(got)
	}
	if got := (&Window{Customer: "acme", Feature: "api"}).ID(); got != "acme/api/rolling" {
		t.Error(got)
	}
	c := Customer{StripeEmail: "s@a.example"}
	if c.Address() != "s@a.example" {
		t.Error("Stripe's address is not used")
	}
	if c.Email = "a@a.example"; c.Address() != "a@a.example" {
		t.Error("the app's address does not win")
	}
}
