package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

const auditYAML = `retention: {audit: %s}
plans: {free: {default: true}, pro: {stripe: {prices: [price_1]}}}
gates:
  - {feature: api, condition: {limit: {free: 100}, period: 30d}}
  - {feature: tokens, condition: {limit: {free: %d}, period: 30d}}
`

// audited is a running Tidegate whose audit log a test reads.
type audited struct {
	t   *testing.T
	app *app.App
	log *testprocess.Output
}

func startAudited(t *testing.T, set app.Settings, yaml string) *audited {
	t.Helper()
	set.Config = filepath.Join(t.TempDir(), "tidegate.yaml")
	if err := os.WriteFile(set.Config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Open(set.Config)
	if err != nil {
		t.Fatal(err)
	}
	b := &audited{t: t, log: &testprocess.Output{}}
	if b.app, err = app.Start(t.Context(), set, cfg, slog.New(slog.NewTextHandler(b.log, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.app.Stop(context.Background()) })
	if err := b.app.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// edit writes the configuration file.
func (b *audited) edit(yaml string) {
	b.t.Helper()
	if err := os.WriteFile(b.app.Settings().Config, []byte(yaml), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *audited) call(status int, method, path, body string) string {
	b.t.Helper()
	req, err := http.NewRequest(method, b.app.URL()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("X-Tidegate-User", "ada@host")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		b.t.Fatalf("%s %s %s: %s, want %d: %s (%v)", method, path, body, resp.Status, status, text, err)
	}
	return string(text)
}

// entries returns the log in one line each: action feature before after reason.
func (b *audited) entries(query string) (lines []string) {
	b.t.Helper()
	var page struct {
		Entries []struct {
			At                                               time.Time
			Actor, Action, Customer, Feature, Reason, Result string
			Before, After                                    json.RawMessage
			Erased                                           bool
		}
	}
	if err := json.Unmarshal([]byte(b.call(200, "GET", "/v1/audit?"+query, "")), &page); err != nil {
		b.t.Fatal(err)
	}
	for _, e := range page.Entries {
		if e.Actor != "local (ada@host)" && e.Action != "config" || time.Since(e.At) > time.Minute {
			b.t.Errorf("%+v", e)
		}
		line := fmt.Sprintf("%s %s %s %s %s", e.Action, e.Feature, e.Before, e.After, e.Reason)
		if e.Erased {
			line += " erased"
		}
		lines = append(lines, line)
	}
	return lines
}

func (b *audited) want(query string, want ...string) {
	b.t.Helper()
	got := b.entries(query)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.t.Errorf("%s:\n%s\nwant\n%s", query, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Each change has its entry: who, what, what held before, what holds now, why. What an
// app says of itself has none, and neither has what holds already.
func TestEveryChangeIsAudited(t *testing.T) {
	t.Parallel()
	b := startAudited(t, app.Settings{}, fmt.Sprintf(auditYAML, "400d", 5))
	const acme = "/v1/customers/acme"
	b.call(200, "PUT", acme, `{"email":"ada@acme.example","locale":"de"}`)
	b.want("")
	for _, step := range []struct{ method, path, body, want string }{
		{"PUT", acme, `{"plan":"pro"}`, `customer.plan  "free" "pro" `},
		{"PUT", acme, `{"plan":null}`, `customer.plan  "pro" null `},
		{"PUT", acme, `{"anchor":"2026-01-31T12:00:00+01:00"}`, `customer.anchor  null "2026-01-31T11:00:00Z" `},
		{"PUT", acme, `{"anchor":"2026-02-01T00:00:00Z"}`, `customer.anchor  "2026-01-31T11:00:00Z" "2026-02-01T00:00:00Z" `},
		{"PUT", acme, `{"overrides":{"api":{"limit":500,"reason":"trial for Ada"}}}`, `customer.override api null {"limit":500} trial for Ada`},
		{"PUT", acme, `{"overrides":{"api":{"grant":5,"until":"2030-01-01T00:00:00Z"}}}`, `customer.override api {"limit":500} {"grant":5,"until":"2030-01-01T00:00:00Z"} `},
		{"PUT", acme, `{"overrides":{"api":{"grant":5,"until":"2030-01-01T00:00:00Z"}}}`,
			`customer.override api {"grant":5,"until":"2030-01-01T00:00:00Z"} {"grant":5,"until":"2030-01-01T00:00:00Z"} `},
		{"PUT", acme, `{"overrides":{"api":null}}`, `customer.override api {"grant":5,"until":"2030-01-01T00:00:00Z"} null `},
		{"PUT", acme, `{"stripe_customer":"cus_1"}`, `customer.stripe  null "cus_1" `},
		{"PUT", acme, `{"stripe_customer":null}`, `customer.stripe  "cus_1" null `},
		{"PUT", "/v1/gates/api", `{"off":true,"reason":"fire"}`, `gate.off api {"off":false} {"off":true} fire`},
		{"PUT", "/v1/gates/api", `{"off":true,"until":"2199-01-01T00:00:00Z"}`, `gate.off api {"off":true} {"off":true,"until":"2199-01-01T00:00:00Z"} `},
		{"PUT", "/v1/gates/api", `{"off":false}`, `gate.on api {"off":true,"until":"2199-01-01T00:00:00Z"} {"off":false} `},
	} {
		b.call(200, step.method, step.path, step.body)
		b.want("limit=1", step.want)
	}
	n := len(b.entries(""))
	for _, holds := range []string{`{"plan":null}`, `{"anchor":"2026-02-01T00:00:00Z"}`, `{"overrides":{"api":null}}`, `{"overrides":{"tokens":{"limit":7,"reason":"r"}}}`, `{"overrides":{"tokens":{"limit":7,"reason":"r"}}}`} {
		b.call(200, "PUT", acme, holds)
	}
	if got := b.entries(""); len(got) != n+1 || got[0] != `customer.override tokens null {"limit":7} r` {
		t.Errorf("what held has entries: %v", got)
	}
	b.call(202, "POST", "/v1/customers", `[{"id":"a","plan":"pro"},{"id":"b","email":"b@b.example"},{"id":"a","plan":null},{"id":"a","plan":null},{"id":"acme","plan":null}]`)
	b.want("customer=a", `customer.plan  "pro" null `, `customer.plan  "free" "pro" `)
	b.want("customer=b")
	if got := b.entries("customer=acme"); len(got) != 11 {
		t.Errorf("%v", got)
	}
	if text := b.log.String(); strings.Count(text, "msg=audit ") != len(b.entries("")) || strings.Contains(text, "trial for Ada") || !strings.Contains(text, `actor="local (ada@host)" action=customer.plan customer=acme`) {
		t.Errorf("the log: %s", text)
	}
}

// Erasing keeps who, what and when, and nothing that was said of the customer.
func TestErasingACustomerErasesEntries(t *testing.T) {
	t.Parallel()
	b := startAudited(t, app.Settings{}, fmt.Sprintf(auditYAML, "400d", 5))
	b.call(200, "PUT", "/v1/customers/acme", `{"stripe_customer":"cus_1","overrides":{"api":{"limit":500,"reason":"trial for Ada"}}}`)
	b.call(200, "PUT", "/v1/customers/other", `{"plan":"pro"}`)
	b.call(204, "DELETE", "/v1/customers/acme", "")
	b.want("", `customer.erase    `, `customer.plan  "free" "pro" `, `customer.stripe     erased`, `customer.override api    erased`)
}

// A change that cannot be written is refused, and nothing changes.
func TestWhatCannotBeAuditedIsRefused(t *testing.T) {
	t.Parallel()
	b := startAudited(t, app.Settings{}, fmt.Sprintf(auditYAML, "400d", 5))
	b.call(200, "PUT", "/v1/customers/acme", `{"overrides":{"api":{"limit":500}}}`)
	before := b.call(200, "GET", "/v1/customers/acme", "")
	js := b.jetStream()
	s, err := js.Stream(t.Context(), "AUDIT")
	if err != nil {
		t.Fatal(err)
	}
	full := s.CachedInfo().Config
	full.MaxMsgs = 1
	if _, err := js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		for _, step := range []struct{ method, path, body string }{
			{"PUT", "/v1/customers/acme", `{"plan":"pro","email":"new@acme.example"}`},
			{"PUT", "/v1/customers/acme", `{"stripe_customer":"cus_1"}`},
			{"PUT", "/v1/customers/acme", `{"overrides":{"api":null}}`},
			{"POST", "/v1/customers", `[{"id":"acme","plan":"pro"},{"id":"b","email":"b@b.example"}]`},
			{"DELETE", "/v1/customers/acme", ""},
			{"PUT", "/v1/gates/api", `{"off":true}`},
		} {
			if text := b.call(503, step.method, step.path, step.body); !strings.Contains(text, "nothing was changed") {
				t.Errorf("%s", text)
			}
		}
		if after := b.call(200, "GET", "/v1/customers/acme", ""); clean(after) != clean(before) {
			t.Errorf("before %s\nafter %s", before, after)
		}
		b.call(404, "GET", "/v1/customers/b", "")
	}
	refused()
	// What no operator sets goes on.
	b.call(200, "PUT", "/v1/customers/acme", `{"email":"ada@acme.example"}`)
	before = b.call(200, "GET", "/v1/customers/acme", "")
	if err := js.DeleteStream(t.Context(), "AUDIT"); err != nil {
		t.Fatal(err)
	}
	refused()
}

// clean removes from a view what moves with the time.
func clean(view string) string {
	var v map[string]any
	if err := json.Unmarshal([]byte(view), &v); err != nil {
		return view
	}
	for _, d := range v["decisions"].([]any) {
		delete(d.(map[string]any), "decided_at")
		delete(d.(map[string]any), "as_of")
	}
	b, _ := json.Marshal(v)
	return string(b)
}

func (b *audited) jetStream() jetstream.JetStream {
	b.t.Helper()
	nc, err := nats.Connect(b.app.NATS())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

// A configuration that is taken over is an entry, once, and none after a restart with
// the same. Its retention is the stream's. While it cannot be written, it waits.
func TestConfigurationsAreAudited(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	b := startAudited(t, app.Settings{Data: data}, fmt.Sprintf(auditYAML, "400d", 5))
	kept := func(age time.Duration) func() error {
		js := b.jetStream()
		return func() error {
			s, err := js.Stream(t.Context(), "AUDIT")
			if err == nil && s.CachedInfo().Config.MaxAge != age {
				err = fmt.Errorf("kept for %s, want %s", s.CachedInfo().Config.MaxAge, age)
			}
			return err
		}
	}
	if err := kept(400 * 24 * time.Hour)(); err != nil {
		t.Error(err)
	}
	b.want("")
	b.edit(fmt.Sprintf(auditYAML, "30d", 7))
	wait.Until(t, "the retention", kept(30*24*time.Hour))
	got := b.entries("actor=config")
	for _, part := range []string{`"gates.tokens.condition.limit.free":"5"`, `"gates.tokens.condition.limit.free":"7"`, `"retention.audit":"30d"`} {
		if len(got) != 1 || !strings.Contains(got[0], part) {
			t.Fatalf("no %s in %q", part, got)
		}
	}
	b.app.Stop(context.Background())
	b = startAudited(t, app.Settings{Data: data}, fmt.Sprintf(auditYAML, "30d", 7))
	b.want("", got...)
	b.app.Stop(context.Background())
	b = startAudited(t, app.Settings{Data: data}, fmt.Sprintf(auditYAML, "30d", 8))
	if again := b.entries(""); len(again) != 2 || !strings.Contains(again[0], `"gates.tokens.condition.limit.free":"8"`) {
		t.Errorf("%q", again)
	}
	js := b.jetStream()
	if err := js.DeleteStream(t.Context(), "AUDIT"); err != nil {
		t.Fatal(err)
	}
	b.edit(fmt.Sprintf(auditYAML, "30d", 9))
	wait.Until(t, "the refusal", func() error {
		if !strings.Contains(b.log.String(), "configuration_waits") {
			return fmt.Errorf("%s", b.log.String())
		}
		return nil
	})
	if text := b.call(200, "GET", "/v1/check?customer=x&feature=tokens", ""); !strings.Contains(text, `"limit":8`) {
		t.Errorf("%s", text)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "AUDIT", Subjects: []string{"audit.>"}}); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the new limit", func() error {
		if text := b.call(200, "GET", "/v1/check?customer=x&feature=tokens", ""); !strings.Contains(text, `"limit":9`) {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
}
