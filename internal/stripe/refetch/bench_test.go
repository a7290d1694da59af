package refetch

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/stripe/api"
)

// BenchmarkSync syncs an account of 2,000 unknown subscribers, and compares it
// again; raw only lists them. The fake Stripe runs in the same process and answers
// at once.
func BenchmarkSync(b *testing.B) {
	const n = 2000
	p := newFixture(b)
	for i := range n {
		p.Subscribe(p.Customer(fmt.Sprint("u", i, "@x.example"), "tidegate_customer", fmt.Sprint("c", i)), "price_pro", "tidegate_customer", fmt.Sprint("c", i))
	}
	c, err := api.New(api.Options{Key: p.Key, Base: p.URL})
	if err != nil {
		b.Fatal(err)
	}
	list := func(next func(string) (api.Page, error)) {
		for after, more := "", true; more; {
			page, err := next(after)
			if err != nil {
				b.Fatal(err)
			}
			more, after = page.More, page.Objects[len(page.Objects)-1].ID
		}
	}
	began := time.Now()
	list(func(after string) (api.Page, error) { return c.Subscriptions(b.Context(), after) })
	list(func(after string) (api.Page, error) { return c.Customers(b.Context(), after) })
	raw := time.Since(began)
	began = time.Now()
	if r, err := p.sync(); err != nil || r.Repaired != 2*n {
		b.Fatalf("%d repaired, %v", r.Repaired, err)
	}
	fill := time.Since(began)
	rounds := 0
	for b.Loop() {
		if r, err := p.sync(); err != nil || r.Repaired != 0 {
			b.Fatalf("%+v, %v", r, err)
		}
		rounds++
	}
	b.ReportMetric(2*n/raw.Seconds(), "raw-objects/s")
	b.ReportMetric(2*n/fill.Seconds(), "filled-objects/s")
	b.ReportMetric(2*n*float64(rounds)/b.Elapsed().Seconds(), "compared-objects/s")
}
