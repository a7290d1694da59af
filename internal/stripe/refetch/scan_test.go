package refetch

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/teststripe"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// reconciled waits until all events up to now have been scanned.
func (p *fixture) reconciled() {
	p.t.Helper()
	since := p.Now()
	wait.Until(p.t, "a look at the events", func() error {
		s, err := p.status()
		if err != nil {
			return err
		}
		if s.Reconciled.Before(since) || s.Pending > 0 {
			return fmt.Errorf("%+v: %w", s, errNotYet)
		}
		return nil
	})
}

func TestLostWebhooksAreFound(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.every.Store(int64(200 * time.Millisecond))
	p.Wait(-time.Hour)
	_, sent := p.Subscribe(p.Customer("", "tidegate_customer", "globex"), "price_any", "tidegate_customer", "globex")
	p.deliver(sent...)
	lost, _ := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro", "tidegate_customer", "acme")
	p.Wait(time.Hour)
	p.ask()
	p.shows("acme", "pro", "active")
	p.shows("globex", "paid", "active")
	p.Cancel(lost) // its webhook may still come
	p.shows("acme", "free", "canceled")
	p.reconciled()
	p.reconciled()
	wait.Until(p.t, "all events are stored", func() error {
		if got := len(p.records(fold.KindStripe)); got < len(p.Events()) {
			return fmt.Errorf("%d of %d are", got, len(p.Events()))
		}
		return nil
	})
	all := map[string]int{}
	for _, rec := range p.records(fold.KindStripe) {
		all[rec.Event.ID]++
	}
	for id, n := range all {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
	if len(all) != len(p.Events()) {
		t.Errorf("%d of %d events are stored", len(all), len(p.Events()))
	}
	if n := p.metrics.GetOrCreateCounter(`tidegate_stripe_lost_webhooks_total`).Get(); n != 2 {
		t.Errorf("%d lost webhooks are counted", n)
	}
	p.shows("globex", "paid", "active")
}

// TestScanContinues: a scan continues through many pages, after failures and with
// another owner, and does not begin anew.
func TestScanContinues(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	const n = 150 // customers, of two events each: three pages and more
	for i := range n {
		p.Subscribe(p.Customer(""), "price_pro", "tidegate_customer", fmt.Sprint("c", i))
	}
	p.every.Store(int64(time.Hour))
	p.Fail(500)
	stop := p.ask()
	wait.Until(p.t, "the look is done", func() error {
		s, err := p.status()
		if err != nil {
			return err
		}
		if s.Reconciled.IsZero() {
			return errNotYet
		}
		return nil
	})
	wait.Until(p.t, "all events are stored", func() error {
		if got := len(p.records(fold.KindStripe)); got != 2*n {
			return fmt.Errorf("%d of %d are", got, 2*n)
		}
		return nil
	})
	asked := len(p.Requests("GET /v1/events"))
	stop()
	_, sent := p.Subscribe(p.Customer(""), "price_pro", "tidegate_customer", "acme")
	p.deliver(sent...)
	p.ask()
	p.shows("acme", "pro", "active")
	p.idle()
	if more := len(p.Requests("GET /v1/events")); more != asked {
		t.Errorf("%d pages more within the hour", more-asked)
	}
}

// TestScanReadsOnlyNewEvents: a second scan reads only a few pages.
func TestScanReadsOnlyNewEvents(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.every.Store(int64(100 * time.Millisecond))
	p.ask()
	p.reconciled()
	first := p.Now()
	p.reconciled()
	all := p.Requests("GET /v1/events")
	var since int64
	if _, err := fmt.Sscan(all[len(all)-1].Params.Get("created[gte]"), &since); err != nil {
		t.Fatal(err)
	}
	if back := first.Sub(time.Unix(since, 0)); back > 2*overlap {
		t.Errorf("it looks back %s", back)
	}
	if n := len(all[0].Params["types[]"]); n < 10 || n > 20 {
		t.Errorf("it asks for %d types; Stripe takes 20", n)
	}
}

func TestKeyThatMayNotSeeEvents(t *testing.T) {
	t.Parallel()
	p := newFixture(t)
	p.every.Store(int64(time.Hour))
	p.Fail(403)
	p.ask()
	wait.Until(p.t, "the refusal is known", func() error {
		s, err := p.status()
		if err != nil {
			return err
		}
		if s.Error == "" {
			return errNotYet
		}
		return nil
	})
	sub, sent := p.Subscribe(p.Customer("", "tidegate_customer", "acme"), "price_pro", "tidegate_customer", "acme")
	p.Change(sub, teststripe.Object{"status": "unpaid"}) // without a webhook
	p.deliver(sent...)
	p.shows("acme", "free", "unpaid") // objects are still fetched
}
