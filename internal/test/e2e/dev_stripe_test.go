package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// subscribes returns the webhook of a subscription without our customer's id.
func subscribes(customer, price string) fold.Webhook {
	now := time.Now().Unix()
	return fold.Webhook{Type: "customer.subscription.created", Payload: fmt.Appendf(nil,
		`{"id":"evt_%[1]s","object":"event","api_version":"2026-08-26.dahlia","type":"customer.subscription.created","created":%[3]d,"livemode":false,
		"data":{"object":{"id":"sub_%[1]s","object":"subscription","customer":"%[1]s","status":"active","created":%[3]d,"metadata":{},
		"items":{"data":[{"current_period_end":%[4]d,"price":{"id":"%[2]s","object":"price","product":"prod_1"}}]}}}}`, customer, price, now, now+2_000_000)}
}

// TestDevMapsStripeCustomers: the events of unmapped Stripe customers apply when the
// operator maps them, one by one or many at once.
func TestDevMapsStripeCustomers(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, `
plans: {free: {default: true}, pro: {stripe: {prices: [price_pro]}}}
gates: [{feature: api, condition: {limit: {free: 100, pro: unlimited}, period: 30d}}]
`)
	d.webhooks([]fold.Webhook{subscribes("cus_1", "price_pro"), subscribes("cus_2", "price_pro"), subscribes("cus_3", "price_odd")})
	unmapped := func(want int) (r fold.Report) {
		t.Helper()
		if err := d.get("/v1/stripe/unmapped", &r); err != nil || r.Total != want || len(r.Customers) != want {
			t.Fatalf("%d unmapped are wanted: %+v, %v", want, r, err)
		}
		return r
	}
	unmapped(3)
	billingOf := func() finding {
		t.Helper()
		_, out, stderr := d.command("", "--output", "json", "doctor")
		var all []finding
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatalf("doctor: %v: %s%s", err, out, stderr)
		}
		for _, f := range all {
			if f.Check == "billing" {
				return f
			}
		}
		t.Fatalf("doctor says nothing of billing: %s", out)
		panic("unreachable")
	}
	if f := billingOf(); f.State != stateWarning || !strings.Contains(f.Detail, "cus_1, cus_2, cus_3") {
		t.Errorf("doctor: %+v", f)
	}
	d.decides("acme", events.WithinLimit, 0)
	d.put("acme", `{"stripe_customer":"cus_1"}`)
	d.decides("acme", events.Unlimited, 0)
	write(t, d.dir+"/customers.ndjson", `{"id":"globex","stripe_customer":"cus_2"}`+"\n"+`{"id":"initech","stripe_customer":"cus_3"}`+"\n")
	d.must("import", "customers", d.dir+"/customers.ndjson")
	d.decides("globex", events.Unlimited, 0)
	if r := unmapped(0); len(r.Prices) != 1 || r.Prices[0].Price != "price_odd" || r.Prices[0].Customers[0] != "initech" {
		t.Errorf("prices without a plan: %+v", r.Prices)
	}
	d.decides("initech", events.WithinLimit, 0)
	if f := billingOf(); f.State != stateWarning || !strings.Contains(f.Detail, "price_odd (1 customer)") || strings.Contains(f.Detail, "cus_") {
		t.Errorf("doctor: %+v", f)
	}
	wait.Until(t, "figures", func() error {
		resp, err := http.Get(d.http + "/metrics")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(b), "\ntidegate_stripe_unmapped_customers 0\ntidegate_stripe_unknown_prices 1\n") {
			err = fmt.Errorf("not there or others")
		}
		return err
	})
	d.put("acme", `{"stripe_customer":null}`)
	d.decides("acme", events.WithinLimit, 0)
	unmapped(1)
}
