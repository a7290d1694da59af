package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/funnel"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/stripe/refetch"
	"github.com/tidegate-io/tidegate/internal/test/teststripe"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

const shopping = `
from: Acme <billing@acme.example>
upgrade: {url: https://acme.example/pricing, price: pro_monthly, success_url: https://acme.example/welcome, portal: true}
plans: {free: {default: true}, pro: {stripe: {lookup_keys: [pro_monthly]}}}
gates:
  - feature: api
    condition: {limit: {free: 100, pro: unlimited}, period: 30d}
    action: {upgrade_prompt: {}}
`

// shopped is `tidegate dev` with a Stripe account.
type shopped struct {
	*development
	stripe *teststripe.Server
}

// newShopped calls prepare with the account before it starts dev.
func newShopped(t testing.TB, before func(*teststripe.Server)) *shopped {
	t.Helper()
	s := &shopped{stripe: teststripe.New(t)}
	s.stripe.Price("price_1", "pro_monthly", "prod_1")
	before(s.stripe)
	s.development = newDevelopment(t, shopping, "STRIPE_SECRET_KEY="+s.stripe.Key, "STRIPE_API_BASE="+s.stripe.URL)
	return s
}

// deliver delivers webhooks.
func (s *shopped) deliver(all ...teststripe.Event) {
	s.gateway.t.Helper()
	for _, e := range all {
		s.webhooks([]fold.Webhook{{Type: e.Type, ID: e.ID, Payload: e.Payload}})
	}
}

// follows opens a link and returns the target of its redirect.
func follows(t testing.TB, method, link string, header ...string) string {
	t.Helper()
	req, err := http.NewRequest(method, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		t.Errorf("%s %s: %s", method, link, resp.Status)
	}
	return resp.Header.Get("Location")
}

// TestDevWithStripe goes from a limit over Checkout to a subscription, which must be the
// same at Stripe and in Tidegate.
func TestDevWithStripe(t *testing.T) {
	t.Parallel()
	d := newShopped(t, func(s *teststripe.Server) {
		s.Subscribe(s.Customer("", "tidegate_customer", "globex"), "price_1", "tidegate_customer", "globex") // without a webhook
	})
	d.decides("globex", events.Unlimited, 0)

	d.put("acme", `{"email":"ada@acme.example"}`)
	d.must("send", "--type", "api", "--customer", "acme", "--count", "100")
	link := linkInText.FindString(d.outbox(1, "ada@acme.example").text)
	programsCreateNoSession(t, d, link)
	buys(t, d, link)
	d.decides("acme", events.Unlimited, 0)
	wait.Until(t, "the conversion", func() error {
		var r funnel.Row
		d.decoded(&r, "funnel")
		if r.Mailed != 1 || r.Clicked != 1 || r.Converted != 1 || r.Amounts["usd"] != 2000 {
			return fmt.Errorf("the funnel is %+v", r)
		}
		return nil
	})
	if to := follows(t, "GET", link); !strings.HasPrefix(to, "https://billing.stripe.com/") {
		t.Errorf("a paying customer is led to %s", to)
	}
	d.stripe.Down()
	if to := follows(t, "GET", link); to != "https://acme.example/pricing" {
		t.Errorf("without Stripe: %s", to)
	}
	d.stripe.Recover()
	d.stripe.Hang()
	if to := follows(t, "GET", link); to != "https://acme.example/pricing" {
		t.Errorf("with a slow Stripe: %s", to)
	}
	d.stripe.Recover()
	syncs(t, d)
	showsNoSecret(t, d)
}

// programsCreateNoSession: a program that opens links in advance creates no session.
func programsCreateNoSession(t *testing.T, d *shopped, link string) {
	t.Helper()
	for _, to := range []string{
		follows(t, "HEAD", link), follows(t, "GET", link, "Sec-Purpose: prefetch"), follows(t, "GET", link, "User-Agent: Slackbot-LinkExpanding 1.0"),
	} {
		if to != "https://acme.example/pricing" {
			t.Errorf("a program is led to %s", to)
		}
	}
	if n := len(d.stripe.Requests("POST")); n != 0 {
		t.Errorf("programs made %d sessions", n)
	}
}

// buys clicks twice, pays once, and delivers the webhooks in the wrong order.
func buys(t *testing.T, d *shopped, link string) {
	t.Helper()
	var wg sync.WaitGroup
	pages := make([]string, 2)
	for i := range pages {
		wg.Go(func() { pages[i] = follows(t, "GET", link) })
	}
	wg.Wait()
	session := strings.TrimPrefix(pages[0], "https://checkout.stripe.com/c/pay/")
	if pages[0] != pages[1] || session == pages[0] {
		t.Fatalf("two clicks lead to %v", pages)
	}
	o := d.stripe.Get(session)
	if o["client_reference_id"] != "acme" || o["customer_email"] != "ada@acme.example" || o["success_url"] != "https://acme.example/welcome" ||
		o["cancel_url"] != "https://acme.example/pricing" || o["metadata"].(map[string]any)["tidegate_customer"] != "acme" {
		t.Errorf("session %v", o)
	}
	told := d.stripe.Complete(session)
	slices.Reverse(told)
	d.deliver(told...)
}

// syncs ends a subscription without a webhook, and runs the sync.
func syncs(t *testing.T, d *shopped) {
	t.Helper()
	wait.Until(t, "all objects are fetched", func() error {
		figures := d.figures()
		// globex' and acme's subscriptions and customers, and the product
		for _, line := range []string{"\ntidegate_stripe_pending 0\n", "\ntidegate_stripe_fetches_total{result=\"fetched\"} "} {
			if !strings.Contains(figures, line) {
				return errors.New(figures)
			}
		}
		if n := len(d.stripe.Requests("GET /v1/subscriptions/")) + len(d.stripe.Requests("GET /v1/customers/")); n < 4 {
			return fmt.Errorf("%d were asked for", n)
		}
		return nil
	})
	var before refetch.Report
	d.stripe.Wait(3 * time.Second)
	wait.Until(t, "dev and Stripe agree", func() error {
		if d.decoded(&before, "stripe", "sync", "--dry-run"); len(before.Drifts) > 0 {
			return fmt.Errorf("%+v", before)
		}
		return nil
	})
	var sub string
	for _, e := range d.stripe.Events() {
		if e.Type == "checkout.session.completed" {
			var body struct {
				Data struct{ Object struct{ Subscription string } }
			}
			if err := json.Unmarshal(e.Payload, &body); err != nil {
				t.Fatal(err)
			}
			sub = body.Data.Object.Subscription
		}
	}
	d.stripe.Cancel(sub)
	d.stripe.Wait(3 * time.Second)
	if out := d.must("stripe", "sync", "--dry-run"); !strings.Contains(out, sub) || !strings.Contains(out, "canceled") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("a trial says\n%s", out)
	}
	d.decides("acme", events.Unlimited, 0)
	if out := d.must("stripe", "sync"); !strings.Contains(out, "compared 2 subscriptions") || !strings.Contains(out, "1 differed, 1 repaired") {
		t.Errorf("sync says\n%s", out)
	}
	wait.Until(t, "acme is free again", func() error {
		if got, err := d.decision("acme"); err != nil || got.Plan != "free" {
			return fmt.Errorf("%+v, %v", got, err)
		}
		return nil
	})
}

func (s *shopped) figures() string {
	s.gateway.t.Helper()
	resp, err := http.Get(s.http + "/metrics")
	if err != nil {
		s.gateway.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.gateway.t.Fatal(err)
	}
	return string(b)
}

// showsNoSecret searches dev's output for secrets.
func showsNoSecret(t *testing.T, d *shopped) {
	t.Helper()
	figures := d.figures()
	if out := d.must("doctor"); !strings.Contains(out, "events are compared up to") {
		t.Errorf("doctor says\n%s", out)
	}
	d.stripe.Key = "sk_test_another" // from now on Stripe refuses the key, and repeats it in its answer
	code, out, stderr := d.command("", "stripe", "sync")
	if code != exitFailed || !strings.Contains(stderr, "STRIPE_SECRET_KEY") {
		t.Errorf("sync with a wrong key: %d %s%s", code, out, stderr)
	}
	_, more, _ := d.command("", "doctor")
	said := figures + out + stderr + more + d.Stdout.String() + d.Stderr.String()
	if i := strings.Index(said, "51TidegateTestKey"); i >= 0 {
		t.Errorf("the key shows: …%s…", said[max(0, i-200):i])
	}
}
