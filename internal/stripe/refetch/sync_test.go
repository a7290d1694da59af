package refetch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/teststripe"
)

func (p *fixture) sync(change ...func(*Sync)) (Report, error) {
	p.t.Helper()
	c, err := api.New(api.Options{Key: p.Key, Base: p.URL})
	if err != nil {
		p.t.Fatal(err)
	}
	s := &Sync{Stripe: c, NC: p.env.NC, JS: p.env.JS, Names: p.env.Names}
	for _, f := range change {
		f(s)
	}
	return s.Run(p.t.Context())
}

func dry(s *Sync) { s.DryRun = true }

// summary returns the differences in short.
func summary(r Report) (lines []string) {
	for _, d := range r.Drifts {
		for _, f := range d.Differences {
			lines = append(lines, fmt.Sprintf("%s %s %s→%s", d.Customer, f.Field, f.Here, f.Stripe))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestSyncRepairsDrift: one subscription is unknown, one ended and one changed its
// price without a webhook, one is unchanged.
func TestSyncRepairsDrift(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	buy := func(customer string) (sub string, sent []teststripe.Event) {
		return p.Subscribe(p.Customer(customer+"@x.example", "tidegate_customer", customer), "price_pro", "tidegate_customer", customer)
	}
	for _, customer := range []string{"same", "ended", "moved", "unknown"} {
		sub, sent := buy(customer)
		if customer != "unknown" {
			p.deliver(sent[0])
		}
		switch customer {
		case "ended":
			p.Cancel(sub)
		case "moved":
			o := p.Get(sub)["items"].(map[string]any)
			o["data"].([]any)[0].(map[string]any)["price"] = p.Get("price_any")
			p.Change(sub, teststripe.Object{"items": o})
		}
	}
	p.Customer("stranger@x.example") // has bought nothing and is no customer of ours
	p.shows("ended", "pro", "active")
	want := []string{"ended email →ended@x.example", "ended metadata.tidegate_customer →ended", "ended status active→canceled",
		"moved email →moved@x.example", "moved metadata.tidegate_customer →moved", "moved plan pro→paid", "moved prices price_pro→price_any",
		"same email →same@x.example", "same metadata.tidegate_customer →same",
		"unknown email →unknown@x.example", "unknown metadata.tidegate_customer →unknown", "unknown subscription →active"}

	p.Wait(3 * time.Second) // the webhooks count as newer than a list until then
	// A dry run finds all of it and changes nothing.
	r, err := p.sync(dry)
	if err != nil || r.Repaired != 0 || len(p.records(fold.KindFetched)) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = p.sync()
	if err != nil || !slices.Equal(summary(r), want) || r.Repaired != 7 || len(r.Missing) > 0 || r.Resumed {
		t.Fatalf("%+v, %v\n%s", r, err, strings.Join(summary(r), "\n"))
	}
	if r.Compared["subscription"] != 4 || r.Compared["customer"] != 5 || r.Compared["product"] != 2 {
		t.Errorf("compared %v", r.Compared)
	}
	p.shows("same", "pro", "active") // at once: the run waits for the fold
	p.shows("ended", "free", "canceled")
	p.shows("moved", "paid", "active")
	p.shows("unknown", "pro", "active")
	stored := len(p.records(fold.KindFetched))
	if r, err = p.sync(); err != nil || len(r.Drifts) != 0 || len(p.records(fold.KindFetched)) != stored {
		t.Errorf("again: %+v, %v", r, err)
	}
}

// TestSyncOfMissingSubscriptions: subscriptions are open here and missing at
// Stripe.
func TestSyncOfMissingSubscriptions(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	sub, sent := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro", "tidegate_customer", "acme")
	p.deliver(sent...)
	p.shows("acme", "pro", "active")
	p.Forget(sub)
	r, err := p.sync()
	if err != nil || len(r.Missing) != 1 || r.Missing[0] != sub {
		t.Errorf("%+v, %v", r, err)
	}
}

// interrupted ends a run after a number of pages.
type interrupted struct {
	Lists
	pages int
	stop  func()
}

func (i *interrupted) Customers(ctx context.Context, after string) (api.Page, error) {
	if i.pages--; i.pages < 0 {
		i.stop()
		return api.Page{}, context.Canceled
	}
	return i.Lists.Customers(ctx, after)
}

func TestSyncContinuesWhereItStopped(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	const n = 450
	for i := range n {
		p.Customer(fmt.Sprint("u", i, "@x.example"), "tidegate_customer", fmt.Sprint("c", i))
	}
	p.Subscribe("cus_0001", "price_pro")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := p.sync(func(s *Sync) { s.Stripe = &interrupted{s.Stripe, 2, cancel} })
	if err == nil || ctx.Err() == nil || r.Repaired != 201 {
		t.Fatalf("%+v, %v", r, err)
	}
	p.Forget("cus_0251") // the run stopped at it
	r, err = p.sync()
	if err != nil || !r.Resumed || r.Repaired != n-200 {
		t.Errorf("repaired %d, resumed %v, %v", r.Repaired, r.Resumed, err)
	}
	if r, err = p.sync(); err != nil || r.Resumed || r.Repaired != 0 || r.Compared["customer"] != n-1 {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
}

func TestSyncOutlastsFailures(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro")
	p.Fail(429, 500)
	steps := map[string]int{}
	r, err := p.sync(func(s *Sync) { s.Step = func(what string, n int) { steps[what] += n } })
	if err != nil || r.Repaired != 2 || steps["subscriptions"] != 1 || steps["customers"] != 1 {
		t.Errorf("%+v, %v, %v", r, steps, err)
	}
	p.Fail(401)
	if _, err := p.sync(); err == nil || !strings.Contains(err.Error(), "STRIPE_SECRET_KEY") {
		t.Errorf("of a wrong key: %v", err)
	}
}

func TestSyncNeedsTheFold(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro")
	p.env.Names.Namespace = "elsewhere"
	if _, err := p.sync(dry); err == nil || !strings.Contains(err.Error(), "enforcer") || strings.Contains(err.Error(), nats.ErrTimeout.Error()) {
		t.Error(err)
	}
}
