package fold

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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

// shop plays Stripe for one Stripe customer. It keeps objects and collects the
// events of their changes, in the shape of one API version.
type shop struct {
	cus   string
	shape *shape
	at    time.Time
	n     int
	subs  map[string]fields
	evs   [][]byte
	owner string // metadata of subscriptions
}

func newShop(cus, owner string) *shop {
	return &shop{cus: cus, owner: owner, at: t0, subs: map[string]fields{}, shape: shapes[0]}
}

func (s *shop) wait(d time.Duration) *shop { s.at = s.at.Add(d); return s }

func (s *shop) emit(kind string, o, previous fields) {
	s.n++
	data := fields{"object": o}
	if previous != nil {
		data["previous_attributes"] = previous
	}
	// Ids decrease, so that no test passes because ids grow in time.
	b, err := json.Marshal(fields{
		"id": fmt.Sprintf("evt_%s_%03d", s.cus, 900-s.n), "object": "event", "type": kind, "api_version": s.shape.version,
		"created": s.at.Unix(), "livemode": false, "pending_webhooks": 1, "data": data,
	})
	if err != nil {
		panic(err)
	}
	s.evs = append(s.evs, b)
}

func (s *shop) customer(kind string, email string) *shop {
	o := s.shape.object("customer")
	o["id"], o["email"] = s.cus, email
	s.emit(kind, o, nil)
	return s
}

func (s *shop) object(id string) fields {
	meta := fields{}
	if s.owner != "" {
		meta[DefaultCustomerKey] = s.owner
	}
	return s.shape.subscription(id, s.cus, meta, s.subs[id])
}

func (s *shop) create(id, price, status string) *shop {
	s.subs[id] = fields{"price": price, "status": status, "created": s.at.Unix(),
		"current_period_end": s.at.AddDate(0, 1, 0).Unix(), "cancel_at": nil, "cancel_at_period_end": false}
	s.emit("customer.subscription.created", s.object(id), nil)
	return s
}

func (s *shop) update(id string, changes fields) *shop {
	previous := s.shape.previous(s.subs[id], changes)
	maps.Copy(s.subs[id], changes)
	s.emit("customer.subscription.updated", s.object(id), previous)
	return s
}

// renew begins the next billing period.
func (s *shop) renew(id string) *shop {
	return s.update(id, fields{"current_period_end": s.at.AddDate(0, 1, 0).Unix()})
}

func (s *shop) tell(kind, id string) *shop {
	s.emit("customer.subscription."+kind, s.object(id), nil)
	return s
}

func (s *shop) end(id string) *shop {
	s.subs[id]["status"] = "canceled"
	return s.tell("deleted", id)
}

func (s *shop) invoice(kind, id string, amount int64, reason string) *shop {
	o := s.shape.invoice(id, s.cus, s.subs[id]["price"].(string), amount)
	o["id"], o["billing_reason"], o["created"] = "in_1", reason, s.at.Unix()
	o["status_transitions"].(fields)["paid_at"] = s.at.Unix()
	if kind == "invoice.payment_failed" {
		o["status"], o["status_transitions"].(fields)["paid_at"] = "open", nil
	}
	s.emit(kind, o, nil)
	return s
}

func (s *shop) checkout(id, reference string, amount int64) *shop {
	o := s.shape.object("checkout.session")
	o["id"], o["customer"], o["subscription"], o["client_reference_id"] = "cs_1", s.cus, id, reference
	o["mode"], o["status"], o["currency"], o["amount_total"] = "subscription", "complete", "usd", amount
	o["customer_details"].(fields)["email"] = "ada@acme.example"
	o["created"], o["payment_status"] = s.at.Unix(), "paid"
	if amount == 0 {
		o["payment_status"] = "no_payment_required"
	}
	s.emit("checkout.session.completed", o, nil)
	return s
}

func (s *shop) charge(amount int64) fields {
	o := s.shape.object("charge")
	o["id"], o["customer"], o["amount"], o["amount_refunded"] = "ch_1", s.cus, 2000, amount
	return o
}

func (s *shop) refund(amount int64) *shop {
	s.emit("charge.refunded", s.charge(amount), nil)
	return s
}

func (s *shop) dispute() *shop {
	o := s.shape.object("dispute")
	o["id"], o["charge"], o["amount"] = "dp_1", "ch_1", 2000
	s.emit("charge.dispute.created", o, nil)
	return s
}

// buy adds the events of a new paid subscription.
func (s *shop) buy(id, price string) *shop {
	return s.create(id, price, "incomplete").
		invoice("invoice.paid", id, 2000, "subscription_create").
		update(id, fields{"status": "active"}).
		wait(2*time.Second).checkout(id, "acme", 2000)
}

// scenario is a sequence of events and the result that it must have in any order.
type scenario struct {
	name     string
	shops    []*shop
	until    time.Time // zero: an hour after the last event
	plan     string
	status   string
	payments string // keys and events, as summary prints them
	recs     []Record
}

const month = 30 * 24 * time.Hour

// scenarios returns all scenarios in the shape of one API version.
func scenarios(sh *shape) (all []*scenario) {
	start := func() *shop {
		s := newShop("cus_1", "acme")
		s.shape = sh
		return s
	}
	one := func(name, plan, status, payments string, s *shop) *scenario {
		all = append(all, &scenario{name: name, shops: []*shop{s}, plan: plan, status: status, payments: payments})
		return all[len(all)-1]
	}
	const first = "acme/sub_1 evt_cus_1_898 free→pro 2000"
	bought := func() *shop { return start().buy("sub_1", "price_pro") }
	status := func(to string) fields { return fields{"status": to} }
	one("checkout", "pro", "active", first, bought())
	one("upgrade", "team", "active", first, bought().wait(month).
		update("sub_1", fields{"price": "price_team"}).invoice("invoice.paid", "sub_1", 9000, "subscription_update"))
	one("downgrade", "pro", "active", "acme/sub_1 evt_cus_1_898 free→team 2000", start().buy("sub_1", "price_team").wait(month).
		update("sub_1", fields{"price": "price_pro"}))
	one("renewed", "pro", "active", first, bought().wait(month).renew("sub_1").invoice("invoice.paid", "sub_1", 2000, "subscription_cycle"))
	one("to be cancelled", "pro", "active", first, bought().wait(time.Hour).update("sub_1", fields{"cancel_at_period_end": true}))
	gone := bought().wait(time.Hour).update("sub_1", fields{"cancel_at_period_end": true})
	one("cancelled by timer", "free", "canceled", first, gone).until = gone.at.Add(2 * month)
	one("cancelled", "free", "canceled", first, bought().wait(time.Hour).
		update("sub_1", fields{"cancel_at_period_end": true}).wait(2*month).end("sub_1"))
	stays := bought().wait(time.Hour).update("sub_1", fields{"cancel_at_period_end": true}).
		wait(time.Hour).update("sub_1", fields{"cancel_at_period_end": false})
	one("stays after all", "pro", "active", first, stays).until = stays.at.Add(2 * month)
	one("recovered", "pro", "active", first, bought().wait(month).update("sub_1", status("past_due")).wait(time.Hour).
		update("sub_1", status("active")).invoice("invoice.payment_succeeded", "sub_1", 2000, "subscription_cycle"))
	one("past due", "pro", "past_due", first, bought().wait(month).renew("sub_1").
		invoice("invoice.payment_failed", "sub_1", 0, "subscription_cycle").update("sub_1", status("past_due")))
	late := bought().wait(month).update("sub_1", status("past_due"))
	one("out of grace", "free", "past_due", first, late).until = late.at.Add(DefaultGrace)
	one("unpaid", "free", "unpaid", first, bought().wait(month).
		update("sub_1", status("past_due")).wait(3*24*time.Hour).update("sub_1", status("unpaid")))
	trial := func() *shop {
		return start().create("sub_1", "price_pro", "trialing").invoice("invoice.paid", "sub_1", 0, "subscription_create").wait(14 * 24 * time.Hour)
	}
	one("trial", "pro", "trialing", "", trial())
	one("trial paid", "pro", "active", "acme/sub_1 evt_cus_1_897 free→pro 2000", trial().
		invoice("invoice.paid", "sub_1", 2000, "subscription_cycle").update("sub_1", status("active")))
	one("trial lapsed", "free", "canceled", "", trial().end("sub_1"))
	one("trial lapsed unpaid", "free", "past_due", "", trial().update("sub_1", status("active")).
		wait(time.Hour).update("sub_1", status("past_due")).wait(DefaultGrace))
	one("paused", "free", "paused", "", trial().update("sub_1", status("paused")).tell("paused", "sub_1"))
	one("resumed", "pro", "active", "acme/sub_1 evt_cus_1_894 free→pro 2000", trial().update("sub_1", status("paused")).
		wait(month).update("sub_1", status("active")).tell("resumed", "sub_1").invoice("invoice.paid", "sub_1", 2000, "subscription_cycle"))
	one("collection paused", "pro", "active", first, bought().wait(time.Hour).
		update("sub_1", fields{"pause_collection": fields{"behavior": "void", "resumes_at": nil}}))
	one("refunded", "pro", "active", first, bought().wait(time.Hour).refund(500).refund(2000))
	one("disputed", "pro", "active", first, bought().wait(time.Hour).dispute().refund(2000))
	one("customer deleted", "free", "canceled", first, bought().wait(month).customer("customer.deleted", "ada@acme.example"))
	one("two subscriptions", "team", "active", first, bought().wait(time.Hour).
		create("sub_2", "price_team", "active").invoice("invoice.paid", "sub_2", 9000, "subscription_create"))
	one("paid again", "pro", "active", first+"; acme/sub_2 evt_cus_1_893 free→pro 2000", bought().wait(time.Hour).end("sub_1").
		wait(time.Hour).create("sub_2", "price_pro", "active").invoice("invoice.paid", "sub_2", 2000, "subscription_create"))
	one("back and forth in a second", "pro", "past_due", first, bought().wait(month).
		update("sub_1", status("past_due")).update("sub_1", status("active")).update("sub_1", status("past_due")))
	one("recovered within a second", "pro", "active", first, bought().wait(month).
		update("sub_1", status("past_due")).update("sub_1", status("active")))
	anonymous := start()
	anonymous.owner = ""
	one("by reference", "pro", "active", first, anonymous.buy("sub_1", "price_pro"))
	other := newShop("cus_2", "acme").wait(time.Minute)
	other.shape = sh
	one("two stripe customers", "team", "active", first, bought()).shops = []*shop{bought(), other.buy("sub_9", "price_team")}
	return all
}

// versions returns each scenario in the shapes of all API versions.
func versions() [][]*scenario {
	var all [][]*scenario
	for i, sh := range shapes {
		for j, sc := range scenarios(sh) {
			if i == 0 {
				all = append(all, nil)
			}
			all[j] = append(all[j], sc)
		}
	}
	return all
}

// records returns all events of the scenario in their true order.
func (sc *scenario) records() []Record {
	if sc.recs != nil {
		return slices.Clone(sc.recs)
	}
	for _, s := range sc.shops {
		for _, b := range s.evs {
			rec, err := ParseRecord(KindStripe, b, 0, t0)
			if err != nil {
				panic(err)
			}
			sc.recs = append(sc.recs, rec)
		}
	}
	return slices.Clone(sc.recs)
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
