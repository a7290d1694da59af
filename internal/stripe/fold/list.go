package fold

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate/internal/records"
)

// Unmapped is a Stripe customer that neither the operator nor metadata maps to a
// customer. Its facts are kept, and apply as soon as it is mapped.
type Unmapped struct {
	StripeCustomer string   `json:"stripe_customer"`
	Email          string   `json:"email,omitempty"` // helps the operator; never used for mapping
	Subscriptions  []string `json:"subscriptions"`   // ids, at most maxNamed
	Status         string   `json:"status"`          // of the newest subscription
	Plan           string   `json:"plan"`            // that the newest subscription would give
}

// noteUnmapped adds the Stripe customer to the unmapped ones or removes it.
func (s *State) noteUnmapped(id string) {
	p := s.facts.Parties[id]
	if len(s.owned[id]) > 0 || p.Deleted != nil || len(p.Subs) == 0 && p.Mail.Value == "" {
		delete(s.unmapped, id)
		return
	}
	s.unmapped[id] = true
}

// noteUnknown records whether the customer pays these prices, which lead to no
// plan.
func (s *State) noteUnknown(customer string, prices []string, inForce bool) {
	for _, price := range prices {
		switch {
		case inForce && s.unknownPrices[price] == nil:
			s.unknownPrices[price] = map[string]bool{customer: true}
		case inForce:
			s.unknownPrices[price][customer] = true
		default:
			if delete(s.unknownPrices[price], customer); len(s.unknownPrices[price]) == 0 {
				delete(s.unknownPrices, price)
			}
		}
	}
}

// Unmapped returns at most limit unmapped Stripe customers with subscriptions or
// a checkout, ordered by id, after the given id. It reports whether there are
// more.
func (s *State) Unmapped(after string, limit int) (list []Unmapped, more bool) {
	list = []Unmapped{}
	for _, id := range slices.Sorted(maps.Keys(s.unmapped)) {
		if id <= after {
			continue
		}
		if len(list) == limit {
			return list, true
		}
		list = append(list, s.describe(id))
	}
	return list, false
}

func (s *State) describe(id string) Unmapped {
	p := s.facts.Parties[id]
	u := Unmapped{StripeCustomer: id, Email: cmp.Or(p.Object.Email, p.Mail.Value), Subscriptions: []string{}}
	var newest stamp
	for _, sid := range slices.Sorted(maps.Keys(p.Subs)) {
		if len(u.Subscriptions) < maxNamed {
			u.Subscriptions = append(u.Subscriptions, sid)
		}
		if v, ok := p.Subs[sid].newest(); ok && (newest.ID == "" || v.Stamp.compare(newest) > 0) {
			newest, u.Status = v.Stamp, v.Status
			u.Plan = s.cfg.Plans.best(v.Items, &s.facts.Prices)
		}
	}
	return u
}

// UnknownPrice is a price in force that leads to no plan.
type UnknownPrice struct {
	Price     string   `json:"price"`
	Customers []string `json:"customers"` // at most maxNamed
	Count     int      `json:"count"`     // of all its customers
}

// maxNamed is how many customers an UnknownPrice names, and how many
// subscriptions an Unmapped.
const maxNamed = 10

// UnknownPrices returns the prices in force that lead to no plan, ordered by id.
func (s *State) UnknownPrices() []UnknownPrice {
	out := []UnknownPrice{}
	for _, price := range slices.Sorted(maps.Keys(s.unknownPrices)) {
		customers := slices.Sorted(maps.Keys(s.unknownPrices[price]))
		out = append(out, UnknownPrice{Price: price, Customers: customers[:min(len(customers), maxNamed)], Count: len(customers)})
	}
	return out
}

// Subscription returns the customer's current document. It returns false when no
// fact is about the customer.
func (s *State) Subscription(customer string) (records.Subscription, bool) {
	if len(s.index[customer]) == 0 && s.facts.Customers[customer] == nil {
		return records.Subscription{}, false
	}
	return s.view(customer).doc, true
}

// Payments returns the customer's conversions that were emitted and not taken
// back, ordered by key.
func (s *State) Payments(customer string) []records.Payment {
	c := s.facts.Customers[customer]
	if c == nil {
		return nil
	}
	var out []records.Payment
	for _, key := range slices.Sorted(maps.Keys(c.Payments)) {
		out = append(out, c.Payments[key])
	}
	return out
}

// Refunds returns the customer's refunds and disputes that were emitted and not
// taken back, ordered by key.
func (s *State) Refunds(customer string) []records.Refund {
	c := s.facts.Customers[customer]
	if c == nil {
		return nil
	}
	var out []records.Refund
	for _, key := range slices.Sorted(maps.Keys(c.Refunds)) {
		out = append(out, c.Refunds[key])
	}
	return out
}

// documentsAfter returns the current documents of customers whose document
// changed after the given number.
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
