package fold

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

// Webhook is an event as Stripe posts it; Sign returns its header.
type Webhook struct {
	ID      string
	Type    string
	Payload []byte
}

// Upgrade describes a customer who buys a subscription.
type Upgrade struct {
	Customer    string // ours
	Email       string // "" means an invented one
	Price       Price
	Amount      int64  // in the currency's smallest unit; 0 means 2000
	Currency    string // "" means usd
	CustomerKey string // "" means DefaultCustomerKey
	Now         time.Time
}

// sequenceVersion is the API version of the webhooks below.
const sequenceVersion = "2023-10-16"

// DevCustomer returns the id of the Stripe customer that UpgradeEvents uses for a
// customer. It is always the same, so that DowngradeEvents ends the right one.
func DevCustomer(customer string) string { return devID("cus_dev_", customer) }

// DevSubscription returns the id of the subscription that UpgradeEvents uses for a
// customer.
func DevSubscription(customer string) string { return devID("sub_dev_", customer) }

func devID(prefix, customer string) string {
	h := fnv.New64a()
	h.Write([]byte(customer))
	return prefix + strconv.FormatUint(h.Sum64(), 36)
}

// UpgradeEvents returns the webhooks of an upgrade by Checkout, in Stripe's order.
func UpgradeEvents(u Upgrade) []Webhook {
	u.Email = cmp.Or(u.Email, devID("", u.Customer)+"@customer.example")
	u.Amount = cmp.Or(u.Amount, 2000)
	u.Currency = cmp.Or(u.Currency, "usd")
	u.CustomerKey = cmp.Or(u.CustomerKey, DefaultCustomerKey)
	s := sequence{u: u, at: u.Now, invoice: randomID("in_"), session: randomID("cs_test_"), item: randomID("si_")}
	return []Webhook{
		s.event("customer.created", s.customer(), nil),
		s.event("customer.subscription.created", s.subscription("incomplete"), nil),
		s.event("invoice.paid", s.paidInvoice(), nil),
		s.event("customer.subscription.updated", s.subscription("active"), fields{"status": "incomplete"}),
		s.event("checkout.session.completed", s.checkout(), nil),
	}
}

// DowngradeEvents returns the webhooks of the end of the subscription that
// UpgradeEvents began.
func DowngradeEvents(u Upgrade) []Webhook {
	u.CustomerKey = cmp.Or(u.CustomerKey, DefaultCustomerKey)
	s := sequence{u: u, at: u.Now, item: randomID("si_")}
	o := s.subscription("canceled")
	o["canceled_at"], o["ended_at"] = u.Now.Unix(), u.Now.Unix()
	return []Webhook{s.event("customer.subscription.deleted", o, nil)}
}

// fields is a JSON object.
type fields = map[string]any

// sequence makes the objects of one purchase.
type sequence struct {
	u                      Upgrade
	at                     time.Time
	invoice, session, item string
}

func (s *sequence) event(kind string, o, previous fields) Webhook {
	data := fields{"object": o}
	if previous != nil {
		data["previous_attributes"] = previous
	}
	w := Webhook{ID: randomID("evt_"), Type: kind}
	// Encoding strings, numbers and maps of them never fails.
	w.Payload, _ = json.Marshal(fields{
		"id": w.ID, "object": "event", "api_version": sequenceVersion, "created": s.at.Unix(), "type": kind,
		"livemode": false, "pending_webhooks": 1, "data": data, "request": fields{"id": nil, "idempotency_key": nil},
	})
	return w
}

func (s *sequence) metadata() fields { return fields{s.u.CustomerKey: s.u.Customer} }

func (s *sequence) customer() fields {
	return fields{
		"id": DevCustomer(s.u.Customer), "object": "customer", "created": s.u.Now.Unix(), "currency": s.u.Currency,
		"email": s.u.Email, "livemode": false, "metadata": s.metadata(),
	}
}

func (s *sequence) price() fields {
	return fields{
		"id": s.u.Price.ID, "object": "price", "active": true, "currency": s.u.Currency, "unit_amount": s.u.Amount,
		"lookup_key": orNull(s.u.Price.LookupKey), "product": s.u.Price.Product, "metadata": fields{},
		"type": "recurring", "recurring": fields{"interval": "month", "interval_count": 1},
	}
}

func (s *sequence) subscription(status string) fields {
	meta := s.metadata()
	meta[serialKey] = strconv.FormatInt(s.at.UnixNano(), 10)
	end := s.u.Now.AddDate(0, 1, 0).Unix()
	return fields{
		"id": DevSubscription(s.u.Customer), "object": "subscription", "customer": DevCustomer(s.u.Customer),
		"status": status, "created": s.u.Now.Unix(), "start_date": s.u.Now.Unix(), "currency": s.u.Currency,
		"current_period_start": s.u.Now.Unix(), "current_period_end": end,
		"cancel_at": nil, "cancel_at_period_end": false, "canceled_at": nil, "ended_at": nil, "trial_end": nil,
		"latest_invoice": orNull(s.invoice), "livemode": false, "metadata": meta,
		"items": fields{"object": "list", "has_more": false, "data": []fields{{
			"id": s.item, "object": "subscription_item", "quantity": 1, "price": s.price(),
		}}},
	}
}

func (s *sequence) paidInvoice() fields {
	return fields{
		"id": s.invoice, "object": "invoice", "customer": DevCustomer(s.u.Customer), "customer_email": s.u.Email,
		"subscription": DevSubscription(s.u.Customer), "subscription_details": fields{"metadata": s.metadata()},
		"status": "paid", "paid": true, "amount_due": s.u.Amount, "amount_paid": s.u.Amount, "amount_remaining": 0,
		"billing_reason": "subscription_create", "created": s.u.Now.Unix(), "currency": s.u.Currency, "livemode": false,
		"status_transitions": fields{"finalized_at": s.u.Now.Unix(), "paid_at": s.at.Unix()},
		"lines": fields{"object": "list", "has_more": false, "data": []fields{{
			"id": randomID("il_"), "object": "line_item", "amount": s.u.Amount, "currency": s.u.Currency,
			"price": s.price(), "subscription": DevSubscription(s.u.Customer),
		}}},
	}
}

func (s *sequence) checkout() fields {
	return fields{
		"id": s.session, "object": "checkout.session", "mode": "subscription", "status": "complete",
		"payment_status": "paid", "amount_total": s.u.Amount, "currency": s.u.Currency, "created": s.u.Now.Unix(),
		"client_reference_id": s.u.Customer, "customer": DevCustomer(s.u.Customer),
		"customer_details": fields{"email": s.u.Email}, "subscription": DevSubscription(s.u.Customer),
		"invoice": s.invoice, "livemode": false, "metadata": s.metadata(),
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func randomID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
