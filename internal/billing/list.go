package billing

import (
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate/events"
)

// Unmapped is a Stripe customer that is nobody's: neither the operator nor
// metadata says whose. What is known of it applies once somebody does.
type Unmapped struct {
	StripeCustomer string   `json:"stripe_customer"`
	Email          string   `json:"email,omitempty"` // to help the operator; never used to guess
	Subscriptions  []string `json:"subscriptions"`   // ids
	Status         string   `json:"status"`          // of the newest subscription
}

// Unmapped lists the Stripe customers that are nobody's, by id.
func (s *State) Unmapped() []Unmapped {
	out := []Unmapped{}
	for _, id := range slices.Sorted(maps.Keys(s.facts.Parties)) {
		p := s.facts.Parties[id]
		if len(s.owned[id]) > 0 {
			continue
		}
		u := Unmapped{StripeCustomer: id, Email: p.Object.Email, Subscriptions: []string{}}
		if u.Email == "" {
			u.Email = p.Mail.Value
		}
		var newest stamp
		for _, sid := range slices.Sorted(maps.Keys(p.Subs)) {
			u.Subscriptions = append(u.Subscriptions, sid)
			if v, ok := p.Subs[sid].newest(); ok && (newest.ID == "" || v.Stamp.compare(newest) > 0) {
				newest, u.Status = v.Stamp, v.Status
			}
		}
		out = append(out, u)
	}
	return out
}

// UnknownPrice is a price that customers pay and that leads to no plan.
type UnknownPrice struct {
	Price     string   `json:"price"`
	Customers []string `json:"customers"`
}

// UnknownPrices lists the prices in force that lead to no plan, by id.
func (s *State) UnknownPrices() []UnknownPrice {
	by := map[string][]string{}
	for _, c := range slices.Sorted(maps.Keys(s.facts.Customers)) {
		for _, price := range s.facts.Customers[c].Unknown {
			by[price] = append(by[price], c)
		}
	}
	out := []UnknownPrice{}
	for _, price := range slices.Sorted(maps.Keys(by)) {
		out = append(out, UnknownPrice{Price: price, Customers: by[price]})
	}
	return out
}

// Subscription is the customer's document as of now; false when nothing is
// known of the customer.
func (s *State) Subscription(customer string) (events.Subscription, bool) {
	if len(s.index[customer]) == 0 && s.facts.Customers[customer] == nil {
		return events.Subscription{}, false
	}
	return s.view(customer).doc, true
}

// Payments are the conversions that were said of the customer and hold, by
// key.
func (s *State) Payments(customer string) []events.Payment {
	c := s.facts.Customers[customer]
	if c == nil {
		return nil
	}
	var out []events.Payment
	for _, key := range slices.Sorted(maps.Keys(c.Payments)) {
		out = append(out, c.Payments[key])
	}
	return out
}

// Refunds are what was said to have gone back to the customer, or is asked
// back, by key.
func (s *State) Refunds(customer string) []events.Refund {
	c := s.facts.Customers[customer]
	if c == nil {
		return nil
	}
	var out []events.Refund
	for _, key := range slices.Sorted(maps.Keys(c.Refunds)) {
		out = append(out, c.Refunds[key])
	}
	return out
}

// documentsAfter are the documents that changed after the given number, as of
// now.
func (s *State) documentsAfter(number uint64) []Change {
	var out []Change
	for _, c := range slices.Sorted(maps.Keys(s.facts.Customers)) {
		if n := s.facts.Customers[c].Document; n > number {
			v := s.view(c)
			out = append(out, Change{Customer: c, Subscription: &v.doc, Document: n})
		}
	}
	return out
}
