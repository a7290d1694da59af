package ingest

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

func TestUnmapped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(503, "GET", "/v1/stripe/unmapped", "") // nobody folds
	asked := make(chan fold.Page, 10)
	answer := fold.Report{Total: 2, Next: "cus_1", Prices: []fold.UnknownPrice{{Price: "price_x", Customers: []string{"acme"}, Count: 1}},
		Customers: []fold.Unmapped{{StripeCustomer: "cus_1", Email: "ada@acme.example", Subscriptions: []string{"sub_1"}, Status: "active", Plan: "pro"}}}
	_, err := b.nc.Subscribe("query.billing.0.report", func(m *nats.Msg) {
		var q fold.Page
		if json.Unmarshal(m.Data, &q) != nil {
			t.Errorf("query %v %s", m.Header, m.Data)
		}
		asked <- q
		body, err := json.Marshal(answer)
		if err != nil {
			t.Error(err)
		}
		_ = m.Respond(body)
	})
	ok(t, err)
	ok(t, b.nc.Flush())
	const want = `{"customers":[{"stripe_customer":"cus_1","email":"ada@acme.example","subscriptions":["sub_1"],"status":"active","plan":"pro"}],` +
		`"total":2,"next":"cus_1","prices":[{"price":"price_x","customers":["acme"],"count":1}]}` + "\n"
	if a := b.want(200, "GET", "/v1/stripe/unmapped?limit=1&cursor=cus_0", ""); string(a.body) != want {
		t.Errorf("%s", a.body)
	}
	if q := <-asked; !reflect.DeepEqual(q, fold.Page{After: "cus_0", Limit: 1}) {
		t.Errorf("asked %+v", q)
	}
	for _, limit := range []string{"0", "x", "1001"} {
		b.want(400, "GET", "/v1/stripe/unmapped?limit="+limit, "")
	}
}
