package ingest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
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

func TestResendWebhook(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.Resend = func(_ http.ResponseWriter, r *http.Request) (int, error) {
			switch r.Header.Get("svix-id") {
			case "good":
				return http.StatusNoContent, nil
			case "unlucky":
				return http.StatusServiceUnavailable, errors.New("not stored")
			}
			return http.StatusBadRequest, errors.New("the signature is missing")
		}
	})
	b.want(204, "POST", "/webhooks/resend", "{}", "svix-id: good")
	if p := b.want(400, "POST", "/webhooks/resend", "{}").json(t); p["detail"] != "the signature is missing" {
		t.Errorf("%v", p)
	}
	if a := b.want(503, "POST", "/webhooks/resend", "{}", "svix-id: unlucky"); a.header.Get("Retry-After") != "5" {
		t.Errorf("%v", a.header)
	}
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

func linkOptions(o *Options) { o.LinkSecrets = [][]byte{[]byte("a newer secret"), linkSecret} }

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
	for _, h := range []string{
		"Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "X-Moz: prefetch",
		"User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
		"User-Agent: Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "User-Agent: facebookexternalhit/1.1",
		"User-Agent: Microsoft Office Existence Discovery", "User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko) BingPreview/1.0b", "User-Agent: BarracudaCentral/1.0",
	} {
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
	for _, agent := range []string{
		"", "curl/8.14.1", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36",
	} {
		if got := b.want(303, "GET", up, "", "User-Agent: "+agent).header.Get("Location"); got != "https://checkout.example/acme" {
			t.Errorf("%s is led to %s", agent, got)
		}
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

// TestLinksCannotBeMade: every change of a token is refused, asks nothing of
// Stripe and records nothing.
func TestLinksCannotBeMade(t *testing.T) {
	t.Parallel()
	asked := 0
	b := newBench(t, linkOptions, func(o *Options) {
		o.Upgrade = func(context.Context, link.Link) (string, error) { asked++; return "https://checkout.example", nil }
	})
	good := token(link.Upgrade, time.Hour)
	bad := []string{
		good + "A", good[:len(good)-1], strings.ToUpper(good), good + "%0A", url.PathEscape(good + "="),
		token(link.Upgrade, -time.Nanosecond), token(link.Upgrade, 0), token(link.Unsubscribe, time.Hour),
		link.Sign([]byte("another secret"), link.Link{Kind: link.Upgrade, Customer: "acme", Expires: testNow.Add(time.Hour)}),
		base64.RawURLEncoding.EncodeToString([]byte("acme")), "acme", strings.Repeat("A", 5000),
	}
	for i := range good { // each character another one
		c := byte('A')
		if good[i] == c {
			c = 'B'
		}
		bad = append(bad, good[:i]+string(c)+good[i+1:])
	}
	for _, token := range bad {
		b.want(404, "GET", "/u/"+token, "")
	}
	if n := len(b.accounts()); n != 0 || asked != 0 {
		t.Fatalf("%d clicks were recorded, %d pages made", n, asked)
	}
	b.want(303, "GET", "/u/"+good, "")
	if n := len(b.accounts()); n != 1 || asked != 1 {
		t.Errorf("%d clicks, %d pages by the link itself", n, asked)
	}
}
