package fold

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shape is the form of objects in one API version; see testdata/shapes.
type shape struct {
	version string
	objects map[string]json.RawMessage
}

// shapes holds all shapes, oldest first.
var shapes = func() (all []*shape) {
	files, err := filepath.Glob("testdata/20*.json")
	if err != nil || len(files) < 3 {
		panic("testdata lacks the shapes of API versions")
	}
	slices.Sort(files)
	for _, f := range files {
		sh := &shape{version: strings.TrimSuffix(filepath.Base(f), ".json")}
		b, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(b, &sh.objects)
		}
		if err != nil {
			panic(err)
		}
		all = append(all, sh)
	}
	return all
}()

// object returns a new object of the kind, as stripe-mock has it.
func (sh *shape) object(kind string) fields {
	var o fields
	if err := json.Unmarshal(sh.objects[kind], &o); err != nil {
		panic(kind + ": " + err.Error())
	}
	return o
}

// has reports whether objects of the kind have the field in this version.
func (sh *shape) has(kind, field string) bool {
	_, ok := sh.object(kind)[field]
	return ok
}

// first returns the first element of a list object.
func first(o fields, list string) fields {
	return o[list].(fields)["data"].([]any)[0].(fields)
}

func (sh *shape) price(id string) fields {
	o := sh.object("price")
	o["id"], o["product"] = id, "prod_of_"+id
	o["lookup_key"] = map[string]any{"price_pro": "pro_monthly"}[id]
	return o
}

// item returns the item of a subscription with these attributes.
func (sh *shape) item(sub fields) fields {
	it := first(sh.object("subscription"), "items")
	it["price"] = sh.price(sub["price"].(string))
	if !sh.has("subscription", "current_period_end") {
		it["current_period_end"] = sub["current_period_end"]
	}
	return it
}

func (sh *shape) subscription(id, customer string, metadata, sub fields) fields {
	o := sh.object("subscription")
	o["id"], o["customer"], o["metadata"] = id, customer, metadata
	for _, unset := range []string{"cancel_at", "canceled_at", "ended_at", "trial_end", "pause_collection"} {
		o[unset] = nil
	}
	o["cancel_at_period_end"] = false
	for k, v := range sub {
		if _, known := o[k]; known {
			o[k] = v
		}
	}
	o["items"].(fields)["data"] = []any{sh.item(sub)}
	return o
}

// previous returns previous_attributes for the changes of an object with the
// attributes before.
func (sh *shape) previous(before, changes fields) fields {
	p := fields{}
	for k := range changes {
		if k == "price" || k == "current_period_end" && !sh.has("subscription", k) {
			p["items"] = fields{"data": []any{sh.item(before)}}
		} else {
			p[k] = before[k]
		}
	}
	return p
}

func (sh *shape) invoice(subscription, customer, price string, amount int64) fields {
	o := sh.object("invoice")
	o["customer"], o["amount_paid"], o["status"] = customer, amount, "paid"
	line := first(o, "lines")
	line["amount"] = amount
	if !sh.has("invoice", "subscription") {
		o["parent"] = fields{"type": "subscription_details", "subscription_details": fields{"subscription": subscription, "metadata": fields{}}}
		line["parent"] = fields{"type": "subscription_item_details", "subscription_item_details": fields{"subscription": subscription}}
		line["pricing"].(fields)["price_details"] = fields{"price": price, "product": "prod_of_" + price}
		return o
	}
	o["paid"], o["subscription"], line["subscription"] = true, subscription, subscription
	line["price"] = sh.price(price)
	return o
}

// thinEvents returns events as Stripe sends them to an endpoint for thin events.
func thinEvents(t testing.TB) [][]byte {
	t.Helper()
	b, err := os.ReadFile("testdata/thin.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(b), []byte("\n"))
}

// TestThinEventsWithFetchedObjects: thin events change nothing; the objects that
// are fetched because of them do.
func TestThinEventsWithFetchedObjects(t *testing.T) {
	t.Parallel()
	for _, sh := range shapes {
		shop := newShop("cus_1", "acme")
		shop.shape = sh
		shop.buy("sub_1", "price_pro")
		want := folded(t, testConfig(), shop)
		invoice := sh.invoice("sub_1", "cus_1", "price_pro", 2000)
		invoice["billing_reason"], invoice["created"] = "subscription_create", t0.Unix()
		invoice["status_transitions"].(fields)["paid_at"] = t0.Unix()
		var recs []Record
		for i, body := range thinEvents(t) {
			rec, err := ParseRecord(KindStripe, body, uint64(i+1), t0)
			if err != nil || !rec.Event.Thin || rec.Event.Livemode == nil || rec.Event.Created.IsZero() {
				t.Fatalf("%s: %+v, %v", body, rec.Event, err)
			}
			recs = append(recs, rec)
		}
		recs = append(recs, fetchedRecord(t, 10, t0.Add(6*time.Second), shop.object("sub_1")), fetchedRecord(t, 11, t0.Add(6*time.Second), invoice))
		permute(recs, len(recs), func(order []Record) {
			s := New(testConfig())
			fold(s, order, shop.at)
			a, _ := want.Subscription("acme")
			b, _ := s.Subscription("acme")
			if a.Plan != b.Plan || a.Status != b.Status || !a.CurrentPeriodEnd.Equal(*b.CurrentPeriodEnd) {
				t.Fatalf("%s: %+v, want %+v", sh.version, b, a)
			}
			if got := paymentsOf(s, "acme"); !strings.HasSuffix(got, "free→pro 2000") {
				t.Fatalf("%s: payments %q", sh.version, got)
			}
		})
	}
}

// TestShapesDiffer checks the test data: fields that moved between Stripe's
// versions must have moved in the shapes.
func TestShapesDiffer(t *testing.T) {
	t.Parallel()
	for kind, field := range map[string]string{"subscription": "current_period_end", "invoice": "subscription", "charge": "invoice"} {
		for i, sh := range shapes {
			if got, want := sh.has(kind, field), i == 0; got != want {
				t.Errorf("%s: %s has %s: %v, want %v", sh.version, kind, field, got, want)
			}
		}
	}
}
