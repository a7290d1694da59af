package teststripe

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// month is the length of a billing period.
const month = 30 * 24 * time.Hour

// Price adds a monthly price of 20 dollars.
func (s *Server) Price(id, lookupKey, product string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(Object{"id": product, "object": "product", "name": product, "active": true, "metadata": Object{}})
	s.put(Object{
		"id": id, "object": "price", "active": true, "lookup_key": lookupKey, "product": product, "type": "recurring",
		"unit_amount": 2000, "currency": "usd", "recurring": Object{"interval": "month"}, "metadata": Object{},
	})
}

// Customer adds a customer. metadata holds names and values in turn.
func (s *Server) Customer(email string, metadata ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.customer(email, pairs(metadata))
}

func (s *Server) customer(email string, metadata Object) string {
	return s.put(Object{"id": s.id("cus"), "object": "customer", "email": email, "metadata": metadata})
}

// Subscribe adds a subscription that is paid at once. metadata holds names and values
// in turn.
func (s *Server) Subscribe(customer, price string, metadata ...string) (id string, told []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subscribe(customer, price, pairs(metadata))
}

func (s *Server) subscribe(customer, price string, metadata Object) (string, []Event) {
	end := s.now().Add(month).Unix()
	id := s.put(Object{
		"id": s.id("sub"), "object": "subscription", "customer": customer, "status": "active", "metadata": metadata,
		"cancel_at": nil, "cancel_at_period_end": false, "trial_end": nil,
		"current_period_start": s.now().Unix(), "current_period_end": end,
		"items": Object{"object": "list", "has_more": false, "data": []Object{{
			"id": s.id("si"), "object": "subscription_item", "quantity": 1, "price": s.objects[price],
		}}},
	})
	invoice := s.put(Object{
		"id": s.id("in"), "object": "invoice", "customer": customer, "subscription": id, "status": "paid", "paid": true,
		"amount_paid": 2000, "currency": "usd", "billing_reason": "subscription_create",
		"status_transitions":   Object{"paid_at": s.now().Unix()},
		"subscription_details": Object{"metadata": metadata},
		"lines": Object{"object": "list", "data": []Object{{
			"id": s.id("il"), "object": "line_item", "amount": 2000, "subscription": id, "price": s.objects[price],
		}}},
	})
	return id, []Event{
		s.tell("customer.subscription.created", s.objects[id], nil),
		s.tell("invoice.paid", s.objects[invoice], nil),
	}
}

// Change changes a subscription, customer, price or product.
func (s *Server) Change(id string, changes Object) Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(id, "updated", changes)
}

// Cancel ends a subscription now.
func (s *Server) Cancel(id string) Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(id, "deleted", Object{"status": "canceled", "canceled_at": s.now().Unix(), "ended_at": s.now().Unix()})
}

func (s *Server) change(id, verb string, changes Object) Event {
	o, previous := clone(s.objects[id]), Object{}
	for k, v := range changes {
		previous[k] = o[k]
		o[k] = v
	}
	s.put(o)
	typ := o["object"].(string)
	if typ == "subscription" {
		typ = "customer.subscription"
	}
	return s.tell(typ+"."+verb, o, previous)
}

// Delete deletes a customer and ends its subscriptions.
func (s *Server) Delete(customer string) (told []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.newest("subscription") {
		if sub["customer"] == customer && sub["status"] != "canceled" {
			told = append(told, s.change(sub["id"].(string), "deleted", Object{"status": "canceled"}))
		}
	}
	told = append(told, s.tell("customer.deleted", s.objects[customer], nil))
	s.objects[customer] = Object{"id": customer, "object": "customer", "deleted": true}
	return told
}

// Complete pays on the page of a checkout session.
func (s *Server) Complete(session string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := clone(s.objects[session])
	customer, _ := o["customer"].(string)
	if customer == "" {
		email, _ := o["customer_email"].(string)
		customer = s.customer(email, Object{})
	}
	hidden := s.objects["hidden_"+session]
	metadata, _ := hidden["metadata"].(map[string]any)
	sub, told := s.subscribe(customer, hidden["price"].(string), metadata)
	o["customer"], o["subscription"], o["status"], o["payment_status"] = customer, sub, "complete", "paid"
	o["amount_total"], o["currency"], o["url"] = 2000, "usd", nil
	o["customer_details"] = Object{"email": s.objects[customer]["email"]}
	s.put(o)
	return append(told, s.tell("checkout.session.completed", o, nil))
}

// Events returns all events, oldest first.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func (s *Server) tell(typ string, o, previous Object) Event {
	data := Object{"object": o}
	if previous != nil {
		data["previous_attributes"] = previous
	}
	id := s.put(Object{
		"id": s.id("evt"), "object": "event", "type": typ, "api_version": "2023-10-16", "created": s.now().Unix(),
		"pending_webhooks": 1, "request": Object{"id": nil, "idempotency_key": nil}, "data": data,
	})
	payload, err := json.Marshal(s.objects[id])
	if err != nil {
		panic(err)
	}
	e := Event{ID: id, Type: typ, Payload: payload}
	s.events = append(s.events, e)
	return e
}

func pairs(kv []string) Object {
	o := Object{}
	for i := 0; i+1 < len(kv); i += 2 {
		o[kv[i]] = kv[i+1]
	}
	return o
}

// keysOf returns the keys of parameters for error messages.
func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
