package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/link"
)

func TestErrorsAreProblems(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(404, "GET", "/v2/nothing", "")
	b.want(405, "POST", "/", "")
	a := b.want(405, "GET", "/v1/events", "")
	if a.header.Get("Allow") != "POST" {
		t.Errorf("Allow %q", a.header.Get("Allow"))
	}
	if allow := b.want(405, "PATCH", "/v1/customers/acme", "").header.Get("Allow"); allow != "DELETE, GET, HEAD, PUT" {
		t.Errorf("Allow %q", allow)
	}
	b.want(501, "POST", "/v1/adjust", "{}")
	b.want(501, "POST", "/v1/void", "{}")
	b.want(501, "GET", "/v1/funnel", "")
	b.want(403, "POST", "/v1/events", oneEvent, "Sec-Fetch-Site: cross-site")
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.Verify = func([]byte, string) (string, string, error) { panic("oh") }
	})
	b.want(500, "POST", "/webhooks/stripe", "{}")
	b.want(200, "GET", "/livez", "")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.Ready = map[string]func(context.Context) error{
			"store": func(context.Context) error { return errors.New("no answer") },
			"cache": func(context.Context) error { return nil },
		}
	})
	p := b.want(503, "GET", "/readyz", "").json(t)
	if p["detail"] != "not ready: store" || p["not_ready"].(map[string]any)["store"] != "no answer" {
		t.Errorf("%v", p)
	}
	delete(b.srv.Ready, "store")
	b.want(200, "GET", "/readyz", "")
	b.want(202, "POST", "/v1/events", oneEvent)
	m := string(b.want(200, "GET", "/metrics", "").body)
	for _, want := range []string{`tidegate_ingest_events_total{result="accepted"} 1`, "process_cpu_seconds_total", `tidegate_http_requests_total{path="/v1/events",code="202"} 1`} {
		if !strings.Contains(m, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	lost := b.nc.StatusChanged(nats.RECONNECTING)
	b.nats.Stop()
	<-lost
	if p := b.want(503, "GET", "/readyz", "").json(t); p["not_ready"].(map[string]any)["nats"] == nil {
		t.Errorf("%v", p)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, path := range []string{"/", "/page/app.js", "/page/style.css"} {
		a := b.want(200, "GET", path, "")
		if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
		if s := string(a.body); strings.Contains(s, "http://") || strings.Contains(s, "https://") || strings.Contains(s, "innerHTML") {
			t.Errorf("%s refers to other places or writes HTML", path)
		}
	}
}

func TestStripeWebhook(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.Verify = func(payload []byte, header string) (string, string, error) {
			var e struct{ ID, Type string }
			err := json.Unmarshal(payload, &e)
			if header != "good" {
				err = errors.New("signature differs")
			}
			return e.ID, e.Type, err
		}
	})
	const body = `{ "id":"evt_1", "type":"invoice.paid" }`
	b.want(400, "POST", "/webhooks/stripe", body)
	b.want(400, "POST", "/webhooks/stripe", body, "Stripe-Signature: bad")
	b.want(413, "POST", "/webhooks/stripe", strings.Repeat(" ", maxWebhookBytes+1), "Stripe-Signature: good")
	b.want(200, "POST", "/webhooks/stripe", body, "Stripe-Signature: good")
	b.want(200, "POST", "/webhooks/stripe", body, "Stripe-Signature: good")
	m := b.stored("BILLING")
	if len(m) != 1 || m[0].Subject != "billing.stripe" || string(m[0].Data) != body || m[0].Header.Get(jetstream.MsgIDHeader) != "stripe/evt_1" {
		t.Errorf("%+v", m)
	}
	ok(t, b.js.DeleteStream(t.Context(), "BILLING"))
	b.want(503, "POST", "/webhooks/stripe", body, "Stripe-Signature: good")
	b.want(404, "POST", "/webhooks/resend", body)
}

func TestPublicHandlerIsSmall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hs := httptest.NewServer(b.srv.PublicHandler())
	defer hs.Close()
	b.url = hs.URL
	b.want(503, "POST", "/webhooks/stripe", "{}")
	b.want(404, "GET", "/u/x", "")
	b.want(404, "GET", "/unsubscribe/x", "")
	for _, path := range []string{"/", "/v1/gates", "/metrics", "/livez", "/page/app.js"} {
		b.want(404, "GET", path, "")
	}
}

var linkSecret = []byte("secret of the test")

func linkOptions(o *Options) { o.LinkSecret = linkSecret }

func token(kind link.Kind, expires time.Duration) string {
	return link.Sign(linkSecret, link.Link{Kind: kind, Customer: "acme", Feature: "api", WindowStart: testNow.Add(-time.Hour), Expires: testNow.Add(expires)})
}

func TestUpgradeLink(t *testing.T) {
	t.Parallel()
	up := "/u/" + token(link.Upgrade, time.Hour)
	b := newBench(t, linkOptions, func(o *Options) {
		o.Upgrade = func(_ context.Context, l link.Link) (string, error) {
			return "https://checkout.example/" + l.Customer, nil
		}
	})
	for _, h := range []string{"Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "X-Moz: prefetch"} {
		if got := b.want(303, "GET", up, "", h).header.Get("Location"); got != "https://acme.example/pricing" {
			t.Errorf("%s leads to %s", h, got)
		}
	}
	b.want(303, "HEAD", up, "")
	if n := len(b.accounts()); n != 0 {
		t.Fatalf("%d clicks of programs", n)
	}
	if got := b.want(303, "GET", up, "").header.Get("Location"); got != "https://checkout.example/acme" {
		t.Errorf("leads to %s", got)
	}
	a := b.accounts()
	if len(a) != 1 || a[0].Customer != "acme" || a[0].Click.Feature != "api" || !a[0].Click.WindowStart.Equal(testNow.Add(-time.Hour)) {
		t.Errorf("%+v", a)
	}
	for _, token := range []string{token(link.Upgrade, -time.Hour), token(link.Unsubscribe, time.Hour), "x"} {
		r := b.want(404, "GET", "/u/"+token, "")
		if !strings.Contains(string(r.body), `href="https://acme.example/pricing"`) || !strings.Contains(r.header.Get("Content-Security-Policy"), "sha256-") {
			t.Errorf("%s: %s", token, r.body)
		}
	}
	b.srv.Options.Upgrade = func(context.Context, link.Link) (string, error) { return "", errors.New("stripe is away") }
	ok(t, b.js.DeleteStream(t.Context(), "ACCOUNT"))
	if got := b.want(303, "GET", up, "").header.Get("Location"); got != "https://acme.example/pricing" {
		t.Errorf("leads to %s", got)
	}
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	b := newBench(t, linkOptions)
	stop := "/unsubscribe/" + token(link.Unsubscribe, time.Hour)
	if page := string(b.want(200, "GET", stop, "").body); !strings.Contains(page, `<form method="post">`) {
		t.Error(page)
	}
	if n := len(b.accounts()); n != 0 {
		t.Fatal("a GET unsubscribed")
	}
	b.want(200, "POST", stop, "List-Unsubscribe=One-Click", "Content-Type: application/x-www-form-urlencoded")
	if a := b.accounts(); len(a) != 1 || a[0].Suppress == nil || *a[0].Suppress != "unsubscribed" {
		t.Errorf("%+v", a)
	}
	b.want(404, "POST", "/unsubscribe/"+token(link.Upgrade, time.Hour), "")
	b.want(404, "GET", "/unsubscribe/x", "")
	b.want(200, "POST", "/unsubscribe/"+token(link.Unsubscribe, -time.Hour), "")
}
