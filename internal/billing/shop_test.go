package billing

import (
	"encoding/json"
	"fmt"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testConfig() Config {
	return Config{Grace: DefaultGrace, Plans: Plans{
		Order: []string{"free", "pro", "team", "paid"}, Default: "free",
		LookupKeys: map[string]string{"pro_monthly": "pro"},
		Prices:     map[string]string{"price_team": "team"},
		Products:   map[string]string{"prod_team": "team"},
	}}
}

// shop plays Stripe for one Stripe customer: it keeps objects and writes down
// the events of their changes.
type shop struct {
	cus   string
	new   bool // shapes of 2025-03-31 and later
	at    time.Time
	n     int
	subs  map[string]fields
	evs   [][]byte
	owner string // metadata of subscriptions
}

func newShop(cus, owner string) *shop {
	return &shop{cus: cus, owner: owner, at: t0, subs: map[string]fields{}}
}

func (s *shop) wait(d time.Duration) *shop { s.at = s.at.Add(d); return s }

func (s *shop) emit(kind string, o, previous fields) {
	s.n++
	data := fields{"object": o}
	if previous != nil {
		data["previous_attributes"] = previous
	}
	// Ids run backwards, so that nothing passes by ids growing in time.
	b, err := json.Marshal(fields{
		"id": fmt.Sprintf("evt_%s_%03d", s.cus, 900-s.n), "object": "event", "type": kind,
		"created": s.at.Unix(), "data": data,
	})
	if err != nil {
		panic(err)
	}
	s.evs = append(s.evs, b)
}

func (s *shop) customer(kind string, email string) *shop {
	s.emit(kind, fields{"id": s.cus, "object": "customer", "email": email, "metadata": fields{}}, nil)
	return s
}

func (s *shop) price(id string) fields {
	lookup := map[string]any{"price_pro": "pro_monthly"}[id]
	return fields{"id": id, "object": "price", "lookup_key": lookup, "product": "prod_of_" + id, "metadata": fields{}}
}

func (s *shop) object(id string) fields {
	sub := s.subs[id]
	meta := fields{}
	if s.owner != "" {
		meta[DefaultCustomerKey] = s.owner
	}
	o := fields{"id": id, "object": "subscription", "customer": s.cus, "metadata": meta}
	for k, v := range sub {
		o[k] = v
	}
	it := fields{"price": s.price(sub["price"].(string))}
	delete(o, "price")
	if s.new {
		it["current_period_end"] = o["current_period_end"]
		delete(o, "current_period_end")
	}
	o["items"] = fields{"data": []fields{it}}
	return o
}

func (s *shop) create(id, price, status string) *shop {
	s.subs[id] = fields{"price": price, "status": status, "created": s.at.Unix(),
		"current_period_end": s.at.AddDate(0, 1, 0).Unix(), "cancel_at": nil, "cancel_at_period_end": false}
	s.emit("customer.subscription.created", s.object(id), nil)
	return s
}

func (s *shop) update(id string, changes fields) *shop {
	previous := fields{}
	for k, v := range changes {
		if k == "price" {
			previous["items"] = fields{"data": []fields{{"price": s.price(s.subs[id][k].(string))}}}
		} else {
			previous[k] = s.subs[id][k]
		}
		s.subs[id][k] = v
	}
	s.emit("customer.subscription.updated", s.object(id), previous)
	return s
}

func (s *shop) end(id string) *shop {
	s.subs[id]["status"] = "canceled"
	s.emit("customer.subscription.deleted", s.object(id), nil)
	return s
}

func (s *shop) invoice(kind, id string, amount int64, reason string) *shop {
	o := fields{"id": "in_1", "object": "invoice", "customer": s.cus, "amount_paid": amount, "currency": "usd",
		"billing_reason": reason, "created": s.at.Unix()}
	line := fields{"amount": amount}
	if s.new {
		o["parent"] = fields{"subscription_details": fields{"subscription": id}}
		line["pricing"] = fields{"price_details": fields{"price": s.subs[id]["price"]}}
	} else {
		o["subscription"] = id
		line["price"] = s.price(s.subs[id]["price"].(string))
	}
	o["lines"] = fields{"data": []fields{line}}
	s.emit(kind, o, nil)
	return s
}

func (s *shop) checkout(id, reference string, amount int64) *shop {
	status := "paid"
	if amount == 0 {
		status = "no_payment_required"
	}
	s.emit("checkout.session.completed", fields{"id": "cs_1", "object": "checkout.session", "customer": s.cus,
		"subscription": id, "client_reference_id": reference, "payment_status": status, "amount_total": amount,
		"currency": "usd", "customer_details": fields{"email": "ada@acme.example"}}, nil)
	return s
}

// buy is the way of most sequences to a paid subscription.
func (s *shop) buy(id, price string) *shop {
	return s.create(id, price, "incomplete").
		invoice("invoice.paid", id, 2000, "subscription_create").
		update(id, fields{"status": "active"}).
		wait(2*time.Second).checkout(id, "acme", 2000)
}

// scenario is a sequence of events and what must come of it whatever the order.
type scenario struct {
	name     string
	shops    []*shop
	until    time.Time // zero: an hour after the last event
	plan     string
	status   string
	payments string // keys and events, as summary prints them
}

const month = 30 * 24 * time.Hour

func scenarios() []scenario {
	var all []scenario
	for _, basil := range []bool{false, true} {
		start := func() *shop {
			s := newShop("cus_1", "acme")
			s.new = basil
			return s
		}
		one := func(name, plan, status, payments string, s *shop) {
			all = append(all, scenario{name: fmt.Sprintf("%s/basil=%v", name, basil), shops: []*shop{s}, plan: plan, status: status, payments: payments})
		}
		const first = "acme/sub_1 evt_cus_1_898 free→pro 2000"
		one("checkout", "pro", "active", first, start().buy("sub_1", "price_pro"))
		one("upgrade", "team", "active", first, start().buy("sub_1", "price_pro").wait(month).
			update("sub_1", fields{"price": "price_team"}).invoice("invoice.paid", "sub_1", 9000, "subscription_update"))
		one("downgrade", "pro", "active", "acme/sub_1 evt_cus_1_898 free→team 2000", start().buy("sub_1", "price_team").wait(month).
			update("sub_1", fields{"price": "price_pro"}))
		one("to be cancelled", "pro", "active", first, start().buy("sub_1", "price_pro").wait(time.Hour).
			update("sub_1", fields{"cancel_at_period_end": true}))
		one("cancelled", "free", "canceled", first, start().buy("sub_1", "price_pro").wait(time.Hour).
			update("sub_1", fields{"cancel_at_period_end": true}).wait(2*month).end("sub_1"))
		one("recovered", "pro", "active", first, start().buy("sub_1", "price_pro").wait(month).
			update("sub_1", fields{"status": "past_due"}).wait(time.Hour).
			update("sub_1", fields{"status": "active"}).invoice("invoice.payment_succeeded", "sub_1", 2000, "subscription_cycle"))
		one("unpaid", "free", "unpaid", first, start().buy("sub_1", "price_pro").wait(month).
			update("sub_1", fields{"status": "past_due"}).wait(3*24*time.Hour).
			update("sub_1", fields{"status": "unpaid"}))
		one("trial paid", "pro", "active", "acme/sub_1 evt_cus_1_897 free→pro 2000", start().create("sub_1", "price_pro", "trialing").
			invoice("invoice.paid", "sub_1", 0, "subscription_create").wait(14*24*time.Hour).
			invoice("invoice.paid", "sub_1", 2000, "subscription_cycle").update("sub_1", fields{"status": "active"}))
		one("trial lapsed", "free", "canceled", "", start().create("sub_1", "price_pro", "trialing").
			invoice("invoice.paid", "sub_1", 0, "subscription_create").wait(14*24*time.Hour).end("sub_1"))
		one("customer deleted", "free", "canceled", first, start().buy("sub_1", "price_pro").wait(month).
			customer("customer.deleted", "ada@acme.example"))
		one("two subscriptions", "team", "active", first, start().buy("sub_1", "price_pro").wait(time.Hour).
			create("sub_2", "price_team", "active").invoice("invoice.paid", "sub_2", 9000, "subscription_create"))
		one("paid again", "pro", "active", first+"; acme/sub_2 evt_cus_1_893 free→pro 2000", start().buy("sub_1", "price_pro").wait(time.Hour).end("sub_1").
			wait(time.Hour).create("sub_2", "price_pro", "active").invoice("invoice.paid", "sub_2", 2000, "subscription_create"))
		one("back and forth in a second", "pro", "past_due", first, start().buy("sub_1", "price_pro").wait(month).
			update("sub_1", fields{"status": "past_due"}).update("sub_1", fields{"status": "active"}).
			update("sub_1", fields{"status": "past_due"}))
		one("recovered within a second", "pro", "active", first, start().buy("sub_1", "price_pro").wait(month).
			update("sub_1", fields{"status": "past_due"}).update("sub_1", fields{"status": "active"}))
		anonymous := start()
		anonymous.owner = ""
		one("by reference", "pro", "active", first, anonymous.buy("sub_1", "price_pro"))
		other := newShop("cus_2", "acme").wait(time.Minute)
		all = append(all, scenario{name: fmt.Sprintf("two stripe customers/basil=%v", basil),
			shops: []*shop{start().buy("sub_1", "price_pro"), other.buy("sub_9", "price_team")},
			plan:  "team", status: "active", payments: first})
	}
	return all
}

// records are all events of the scenario, in their true order.
func (sc *scenario) records() []Record {
	var recs []Record
	for _, s := range sc.shops {
		for _, b := range s.evs {
			rec, err := ParseRecord(KindStripe, b, 0, t0)
			if err != nil {
				panic(err)
			}
			recs = append(recs, rec)
		}
	}
	return recs
}

func (sc *scenario) end() time.Time {
	if !sc.until.IsZero() {
		return sc.until
	}
	var at time.Time
	for _, s := range sc.shops {
		at = later(at, s.at)
	}
	return at.Add(time.Hour)
}
