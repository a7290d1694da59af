package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// full has every key.
const full = `namespace: acme-prod_1
public_url: https://gate.${HOST}/base/
from: "Acme <billing@acme.example>"
upgrade: {url: "https://${HOST}/pricing", price: pro_monthly, success_url: "https://acme.example/ok?s={CHECKOUT_SESSION_ID}", cancel_url: http://localhost:3000, portal: true}
stripe: {customer_key: account_id, grace: 3d, reconcile: 0s}
mail: {cool_down: 90m, templates: ./mails, quiet_hours: {from: 22:30, to: "7:00", zone: Europe/Vienna}}
conversions: {window: 14d}
decisions: {compare: 20s}
retention: {usage: 120d, horizon: 1d12h, audit: 2d}
http: {requests_per_second: 50, events_per_second: 10_000, address_per_second: unlimited, new_customers_per_hour: 7, streams: 9, connections: 100, refuse_uncounted: 3m, proxies: [10.1.2.3/8, "2001:db8::1"]}
partitions: ${PARTITIONS:-64}
plans:
  free: {default: true, stripe: {prices: [price_zero]}}
  pro:  {stripe: {lookup_keys: [pro_monthly], products: [prod_123], prices: [price_123]}}
  enterprise: {}
  paid: {any_subscription: true}
gates:
  - feature: api
    opinion: |
      Enforce usage limits,
      politely.
    trigger: {type: api, endpoint: /api/features/*, method: POST}
    meter: {event: call, aggregate: count}
    condition:
      type: usage
      limit: &limits {free: "${LIMIT}", enterprise: 1_000_000, paid: unlimited}
      period: 30d
      window: rolling
      warn_at: [90%, 50%]
    action:
      type: shadow
      message: "That was $$1: {code}"
      upgrade_prompt: {type: email, provider: resend, template: prompt-2, warnings: true}
    recovery: {retries: 0}
    fail: closed
    enforce_from: 2026-12-01T01:00:00+01:00
    email_from: {database: app, collection: users, key: _id, field: contact.email}
  - feature: tokens
    meter: {aggregate: sum, value: $.usage.total}
    condition: {limit: {free: 0.25, enterprise: .inf}, period: month}
    action: {upgrade_prompt: {}}
  - feature: größe · 1
    meter: {event: seats, aggregate: unique, value: $.user, cap: 20}
    condition: {limit: {free: 20, enterprise: none, pro: 1e1}, period: day, window: calendar}
    trigger: {endpoint: /}
  - feature: aliased
    condition: {limit: *limits, period: 7d}
`

func TestFull(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(full), environment)
	if err != nil {
		t.Fatal(err)
	}
	gates := c.Gates
	c.Gates = nil
	c.source, c.file, c.lines, c.written = [32]byte{}, "", nil, nil
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Namespace: "acme-prod_1", PublicURL: "https://gate.acme.example/base", From: "Acme <billing@acme.example>",
		Upgrade: Upgrade{URL: "https://acme.example/pricing", Price: "pro_monthly",
			SuccessURL: "https://acme.example/ok?s={CHECKOUT_SESSION_ID}", CancelURL: "http://localhost:3000", Portal: true},
		Stripe: Stripe{CustomerKey: "account_id", Grace: 72 * time.Hour, Reconcile: 0},
		Mail: Mail{CoolDown: 90 * time.Minute, Templates: "./mails",
			Quiet: &Quiet{From: 22*time.Hour + 30*time.Minute, To: 7 * time.Hour, Zone: vienna}},
		Conversion: 14 * day,
		Retention:  Retention{Usage: 120 * day, Horizon: 36 * time.Hour, Audit: 2 * day},
		Decisions:  Decisions{Compare: 20 * time.Second},
		HTTP: HTTP{RequestsPerSecond: 50, EventsPerSecond: 10_000, NewCustomersPerHour: 7, NewTypesPerHour: DefaultHTTP.NewTypesPerHour,
			StreamsPerKey: DefaultHTTP.StreamsPerKey, Streams: 9, Connections: 100, RefuseUncounted: 3 * time.Minute,
			Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}},
		Partitions: 64,
		Plans: []Plan{
			{Name: "free", Default: true, Stripe: PlanStripe{Prices: []string{"price_zero"}}},
			{Name: "pro", Stripe: PlanStripe{LookupKeys: []string{"pro_monthly"}, Products: []string{"prod_123"}, Prices: []string{"price_123"}}},
			{Name: "enterprise"},
			{Name: "paid", AnySubscription: true},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("\n got %+v\nwant %+v", c, want)
	}
	enforce := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	limits := map[string]gate.Limit{"free": {Value: events.Count(250)}, "enterprise": {Value: events.Count(1_000_000)}, "paid": {Unlimited: true}}
	wantGates := []Gate{
		{Opinion: "Enforce usage limits,\npolitely.\n", EmailFrom: &EmailFrom{Database: "app", Collection: "users", Key: "_id", Field: "contact.email"}, Gate: gate.Gate{
			Feature: "api", Triggers: []events.Trigger{{Endpoint: "/api/features/*", Method: "POST"}}, Meter: gate.Meter{Event: "call", Aggregate: gate.Count},
			Limits: limits, Window: gate.WindowSpec{Kind: gate.Rolling, Days: 30}, WarnAt: []int{50, 90},
			Shadow: true, EnforceFrom: &enforce, FailClosed: true, Message: "That was $1: {code}", Template: "prompt-2", Warnings: true}},
		{Gate: gate.Gate{Feature: "tokens", Meter: gate.Meter{Event: "tokens", Aggregate: gate.Sum, Value: "usage.total"},
			Limits: map[string]gate.Limit{"free": {Value: events.Value{Nanos: 250_000_000}}, "enterprise": {Unlimited: true}},
			Window: gate.WindowSpec{Kind: gate.Calendar, Month: true}, Message: DefaultMessage, Template: DefaultTemplate}},
		{Gate: gate.Gate{Feature: "größe · 1", Triggers: []events.Trigger{{Endpoint: "/"}}, Meter: gate.Meter{Event: "seats", Aggregate: gate.Unique, Value: "user", Cap: 20},
			Limits: map[string]gate.Limit{"free": {Value: events.Count(20)}, "enterprise": {None: true}, "pro": {Value: events.Count(10)}},
			Window: gate.WindowSpec{Kind: gate.Calendar}, Message: DefaultMessage}},
		{Gate: gate.Gate{Feature: "aliased", Meter: gate.Meter{Event: "aliased", Aggregate: gate.Count},
			Limits: limits, Window: gate.WindowSpec{Kind: gate.Anniversary, Days: 7}, Message: DefaultMessage}},
	}
	for i := range wantGates {
		if !reflect.DeepEqual(gates[i], wantGates[i]) {
			t.Errorf("gate %d\n got %+v\nwant %+v", i, gates[i], wantGates[i])
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte("plans: {free: {default: true}}\ngates: []\nupgrade:\nstripe: {}\nmail:\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.source, c.file, c.lines, c.written = [32]byte{}, "", nil, nil
	want := &Config{
		From: DefaultFrom, Stripe: Stripe{CustomerKey: "tidegate_customer", Grace: 7 * day, Reconcile: time.Hour}, Mail: Mail{CoolDown: 24 * time.Hour}, Conversion: 30 * day,
		Retention: Retention{Usage: 70 * day, Horizon: 32 * day, Audit: 400 * day}, Decisions: Decisions{Compare: 5 * time.Minute}, HTTP: DefaultHTTP, Plans: []Plan{{Name: "free", Default: true}}, Gates: []Gate{},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("\n got %+v\nwant %+v", c, want)
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	c := Example()
	if c.Upgrade.URL == "" || c.From == "" || c.Partitions != 0 {
		t.Errorf("got %+v", c)
	}
	cat := c.Catalog()
	want := gate.Catalog{
		Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "paid", Paid: true}},
		Gates: []gate.Gate{{
			Feature: "api", Triggers: []events.Trigger{{Endpoint: "/api/features/*", Method: "POST"}}, Meter: gate.Meter{Event: "api", Aggregate: gate.Count},
			Limits: map[string]gate.Limit{"free": {Value: events.Count(100)}, "paid": {Unlimited: true}},
			Window: gate.WindowSpec{Kind: gate.Anniversary, Days: 30}, Template: "upgrade_prompt",
			Message: "You've reached your free tier limit. Upgrade to continue.", UpgradeURL: "https://acme.example/pricing",
		}},
	}
	if !reflect.DeepEqual(cat, want) {
		t.Errorf("\n got %+v\nwant %+v", cat, want)
	}
	if c.Gates[0].UpgradeURL != "" {
		t.Error("Catalog changed the configuration")
	}
}

func TestCatalogPlans(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(full), environment)
	if err != nil {
		t.Fatal(err)
	}
	want := []gate.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}, {Name: "enterprise"}, {Name: "paid", Paid: true}}
	if got := c.Catalog().Plans; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestDigest: the digest is stored in commits and control events, so it must not
// change between releases without need.
func TestDigest(t *testing.T) {
	t.Parallel()
	const want = "d7de618e990761512bd5c22ef4daef3b"
	if got := Example().Digest(); got != want {
		t.Errorf("the example's digest is %s, want %s", got, want)
	}
	parsed := func(doc string) *Config {
		t.Helper()
		c, err := Parse([]byte(doc), environment)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := parsed(base), parsed("# a comment\nmail: {cool_down: 1h}\n"+base)
	if a.Digest() != b.Digest() {
		t.Error("what is not in the catalog changes the digest")
	}
	for range 20 { // maps have no order
		if once, again := parsed(full).Digest(), parsed(full).Digest(); once != again {
			t.Fatal("the digest is not stable")
		}
	}
	if a.Digest() == parsed(full).Digest() {
		t.Error("different catalogs have the same digest")
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "gates.yaml")
	if _, err := Load(path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
	write(t, path, base+"mail: {templates: mails}\n")
	c, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "mails"); c.Mail.Templates != want {
		t.Errorf("templates: got %s, want %s", c.Mail.Templates, want)
	}
	write(t, path, base+"mail: {templates: /mails}\n")
	if c, err = Load(path, nil); err != nil || c.Mail.Templates != "/mails" {
		t.Errorf("templates: got %v, %v", c, err)
	}
	write(t, path, base+"mail: 5\n")
	_, err = Load(path, nil)
	if want := path + ":11: mail: must be a mapping of keys to values, not the number 5"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
