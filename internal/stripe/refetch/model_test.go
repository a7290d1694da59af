package refetch

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/teststripe"
)

// TestWhateverArrives: of the webhooks of forty customers a third is lost, a third
// comes twice, all come in any order, Stripe fails now and then, and the process
// is replaced. In the end Tidegate has the same subscriptions as Stripe.
func TestWhateverArrives(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p := newFixture(t)
	p.every.Store(int64(300 * time.Millisecond))
	stop := p.ask()
	subs := map[string]string{} // by customer
	var sent []teststripe.Event
	for i := range 40 {
		c := fmt.Sprint("c", i)
		sub, first := p.Subscribe(p.Customer("", "tidegate_customer", c), []string{"price_pro", "price_any"}[r.IntN(2)])
		subs[c] = sub
		sent = append(sent, first...)
		for range r.IntN(4) {
			sent = append(sent, p.Change(sub, teststripe.Object{"status": []string{"active", "past_due", "unpaid", "paused"}[r.IntN(4)]}))
		}
		if r.IntN(4) == 0 {
			sent = append(sent, p.Cancel(sub))
		}
	}
	r.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	for i, e := range sent {
		switch r.IntN(3) {
		case 0:
			continue
		case 1:
			p.deliver(e)
		}
		p.deliver(e)
		switch i {
		case len(sent) / 3:
			p.Fail(500, 429, 503)
		case len(sent) / 2:
			p.Down()
			stop()
			p.ask()
			p.Recover()
		}
	}
	for c, sub := range subs {
		o := p.Get(sub)
		plan, status := "free", o["status"].(string)
		if status == "active" || status == "past_due" {
			plan = "paid"
			if o["items"].(map[string]any)["data"].([]any)[0].(map[string]any)["price"].(map[string]any)["id"] == "price_pro" {
				plan = "pro"
			}
		}
		p.shows(c, plan, status)
	}
	p.idle()
	for c, sub := range subs {
		got, err := p.subscription(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := p.Get(sub)["status"]; got.Status != want || len(got.Subscriptions) != 1 {
			t.Errorf("%s is %v, not %s", c, got, want)
		}
	}
	if r, err := p.sync(dry); err != nil || len(statuses(r)) > 0 {
		t.Errorf("a comparison finds %v, %v", statuses(r), err)
	}
}

// statuses returns the subscriptions whose status differs.
func statuses(r Report) (ids []string) {
	for _, d := range r.Drifts {
		if d.Type == "subscription" {
			ids = append(ids, fmt.Sprint(d))
		}
	}
	return ids
}
