package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// folds runs the subscription fold.
func (b *bench) folds() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sup := stream.NewSupervisor(stream.Env{NC: b.nc, JS: b.js, Names: b.srv.Names, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	spec := stream.Spec{Role: stream.RoleBilling, Inputs: []stream.Input{fold.Input(b.srv.Names)}}
	cfg := fold.Config{CustomerKey: "tidegate_customer", Plans: fold.Plans{Default: "free", Order: []string{"free", "pro"}, Any: "pro"}}
	sup.Go(ctx, spec, func() stream.Processor { return fold.NewProcessor(cfg, partitions, b.store) })
	b.t.Cleanup(func() { cancel(); sup.Wait() })
	asker := stream.Asker{NC: b.nc, Names: b.srv.Names, Patience: 20 * time.Second}
	_, err := fold.ClaimsQuestion.Ask(ctx, asker, 0, nil)
	ok(b.t, err)
}

// mapped returns the customer to whom the fold gives a Stripe customer.
func (b *bench) mapped(stripeCustomer string) string {
	b.t.Helper()
	claims, err := fold.ClaimsQuestion.Ask(b.t.Context(), stream.Asker{NC: b.nc, Names: b.srv.Names}, 0, []string{stripeCustomer})
	ok(b.t, err)
	return claims[stripeCustomer].Mapped
}

// Whose a Stripe customer is may be read by a key with the scope read only.
func TestARefusedMappingDoesNotSayWhoseItIs(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("ops:key of ops:admin,desk:key of the desk:admin+read")
	ok(t, err)
	b := newBench(t, func(o *Options) { o.Keys = func() Keys { return keys } })
	b.folds()
	b.key = "key of ops"
	b.want(200, "PUT", "/v1/customers/acme", `{"stripe_customer":"cus_1"}`)
	for _, body := range []string{
		string(b.want(409, "PUT", "/v1/customers/globex", `{"stripe_customer":"cus_1"}`).body),
		string(b.want(400, "POST", "/v1/customers", `[{"id":"globex","stripe_customer":"cus_1"}]`).body),
	} {
		if strings.Contains(body, "acme") || !strings.Contains(body, "belongs to another customer") {
			t.Errorf("%s", body)
		}
	}
	b.key = "key of the desk"
	if p := b.want(409, "PUT", "/v1/customers/globex", `{"stripe_customer":"cus_1"}`).json(t); p["belongs_to"] != "acme" {
		t.Errorf("%v", p)
	}
}

func TestAStripeCustomerIsNotTakenAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const acme, globex = "/v1/customers/acme", "/v1/customers/globex"
	p := b.want(503, "PUT", acme, `{"stripe_customer":"cus_1"}`).json(t)
	if !strings.Contains(p["detail"].(string), "role enforcer") || len(b.accounts()) != 0 {
		t.Errorf("while nobody folds: %v", p)
	}
	b.folds()
	b.want(200, "PUT", acme, `{"stripe_customer":"cus_1"}`)
	p = b.want(409, "PUT", globex, `{"stripe_customer":"cus_1","email":"eve@acme.example"}`).json(t)
	if p["belongs_to"] != "acme" || !strings.Contains(p["detail"].(string), `"move": true`) {
		t.Errorf("%v", p)
	}
	if b.mapped("cus_1") != "acme" || len(b.said()) != 0 || len(b.stored("BILLING")) != 1 {
		t.Errorf("%s has it, %+v", b.mapped("cus_1"), b.accounts())
	}
	b.want(200, "PUT", acme, `{"stripe_customer":"cus_1"}`) // as it is
	b.want(200, "PUT", acme, `{"stripe_customer":"cus_1","move":true}`)
	if n := len(b.stored("BILLING")); n != 1 {
		t.Errorf("%d records: to say again what holds changes something", n)
	}
	b.want(200, "PUT", globex, `{"stripe_customer":"cus_1","move":true}`)
	if b.mapped("cus_1") != "globex" {
		t.Errorf("%s has it", b.mapped("cus_1"))
	}
	b.want(409, "PUT", acme, `{"stripe_customer":"cus_1"}`)
	b.want(200, "PUT", globex, `{"stripe_customer":null}`)
	b.want(200, "PUT", acme, `{"stripe_customer":"cus_1"}`) // free again
	b.want(400, "PUT", acme, `{"move":true}`)
	b.want(400, "PUT", acme, `{"move":true,"stripe_customer":null}`)
	var said []string
	for _, e := range b.audit("").Entries {
		said = append(said, fmt.Sprintf("%s %s>%s", e.Customer, e.Before, e.After))
	}
	want := `acme >"cus_1"|globex >null|acme "cus_1">null|globex >"cus_1"|acme >"cus_1"`
	if got := strings.Join(said, "|"); got != want {
		t.Errorf("audit: %s, want %s", got, want)
	}
}

// TestWhatMetadataSays counts as well: the Stripe customer is somebody's.
func TestWhatMetadataSays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.folds()
	const hook = `{"id":"evt_1","object":"event","type":"customer.created","created":1773000000,"api_version":"2023-10-16","livemode":false,
		"data":{"object":{"id":"cus_1","object":"customer","metadata":{"tidegate_customer":"acme"}}}}`
	_, err := b.js.Publish(t.Context(), "billing.stripe", []byte(hook))
	ok(t, err)
	if p := b.want(409, "PUT", "/v1/customers/globex", `{"stripe_customer":"cus_1"}`).json(t); p["belongs_to"] != "acme" {
		t.Errorf("%v", p)
	}
	b.want(200, "PUT", "/v1/customers/acme", `{"stripe_customer":"cus_1"}`)
	if b.mapped("cus_1") != "acme" {
		t.Error("what metadata says was not made firm")
	}
}

// TestTwoAtOnce: of many who say so at the same time, one wins, and the others are told.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.folds()
	const many = 8
	for round := range 5 {
		id := fmt.Sprint("cus_", round)
		status := make([]int, many)
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				status[i] = b.call("PUT", fmt.Sprint("/v1/customers/c", i), fmt.Sprintf(`{"stripe_customer":%q}`, id)).status
			})
		}
		wg.Wait()
		won := ""
		for i, s := range status {
			switch {
			case s == 200 && won == "":
				won = fmt.Sprint("c", i)
			case s != 409:
				t.Errorf("%s: %v", id, status)
			}
		}
		if has := b.mapped(id); won == "" || has != won {
			t.Errorf("%s: %q was told so, %q has it", id, won, has)
		}
		for _, a := range b.accounts() {
			if a.StripeCustomer != nil && *a.StripeCustomer == id && a.Customer != won {
				t.Errorf("%s is told of %s as well", a.Customer, id)
			}
		}
	}
	for _, e := range b.audit("").Entries {
		if lost := e.Customer != b.mapped(strings.Trim(string(e.After), `"`)); lost != (e.Result == audit.Failed) {
			t.Errorf("%+v", e)
		}
	}
}

func TestClaimsOfABatch(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.folds()
	b.want(200, "PUT", "/v1/customers/acme", `{"stripe_customer":"cus_7"}`)
	b.want(200, "PUT", "/v1/customers/acme", `{"stripe_customer":"cus_8"}`)
	var list []string
	for i := range 1200 { // more than one question holds
		list = append(list, fmt.Sprintf(`{"id":"c%d","stripe_customer":"cus_%d"}`, i, i))
	}
	list[8] = `{"id":"c8","stripe_customer":"cus_8","move":true}`
	list = append(list, `{"id":"other","stripe_customer":"cus_5"}`, `{"id":""}`) // cus_5 is c5's, of the same batch
	var r receipt
	ok(t, json.Unmarshal(b.want(202, "POST", "/v1/customers", "["+strings.Join(list, ",")+"]").body, &r))
	if r.Accepted != 1199 || len(r.Rejected) != 3 || r.Rejected[0].Index != 7 || r.Rejected[1].Index != 1200 || r.Rejected[2].Index != 1201 ||
		!strings.Contains(r.Rejected[0].Error, `belongs to the customer "acme"`) || !strings.Contains(r.Rejected[1].Error, `belongs to the customer "c5"`) {
		t.Errorf("%d accepted, %+v", r.Accepted, r.Rejected)
	}
	for id, want := range map[string]string{"cus_5": "c5", "cus_7": "acme", "cus_8": "c8", "cus_1199": "c1199"} {
		if got := b.mapped(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	p := b.want(400, "POST", "/v1/customers", `{"id":"other","stripe_customer":"cus_5"}`).json(t)
	if p["accepted"] != 0.0 || len(p["rejected"].([]any)) != 1 {
		t.Errorf("%v", p)
	}
}
