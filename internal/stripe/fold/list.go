package fold

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate/internal/records"
)

// Unmapped is a Stripe customer that is nobody's: neither the operator nor
// metadata says whose. What is known of it applies once somebody does.
type Unmapped struct {
	StripeCustomer string   `json:"stripe_customer"`
	Email          string   `json:"email,omitempty"` // to help the operator; never used to guess
	Subscriptions  []string `json:"subscriptions"`   // ids of some
	Status         string   `json:"status"`          // of the newest subscription
	Plan           string   `json:"plan"`            // that it would give
}

// note keeps the lists of what an operator should see to.
func (s *State) note(id string) {
	p := s.facts.Parties[id]
	if len(s.owned[id]) > 0 || p.Deleted != nil || len(p.Subs) == 0 && p.Mail.Value == "" {
		delete(s.nobodys, id)
		return
	}
	s.nobodys[id] = true
}

func (s *State) noteUnknown(customer string, prices []string, is bool) {
	for _, price := range prices {
		switch {
		case is && s.unknowns[price] == nil:
			s.unknowns[price] = map[string]bool{customer: true}
		case is:
			s.unknowns[price][customer] = true
		default:
			if delete(s.unknowns[price], customer); len(s.unknowns[price]) == 0 {
				delete(s.unknowns, price)
			}
		}
	}
}

// Unmapped lists Stripe customers that have bought something and are nobody's,
// by id, behind the one given; more says that there are further ones.
func (s *State) Unmapped(after string, limit int) (list []Unmapped, more bool) {
	list = []Unmapped{}
	for _, id := range slices.Sorted(maps.Keys(s.nobodys)) {
		if id <= after {
			continue
		}
		if len(list) == limit {
			return list, true
		}
		list = append(list, s.unmapped(id))
	}
	return list, false
}

func (s *State) unmapped(id string) Unmapped {
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

// UnknownPrice is a price that customers pay and that leads to no plan.
type UnknownPrice struct {
	Price     string   `json:"price"`
	Customers []string `json:"customers"` // some of them
	Count     int      `json:"count"`     // all of them
}

// maxNamed is how many customers an unknown price names, and how many
// subscriptions an unmapped customer.
const maxNamed = 10

// UnknownPrices lists the prices in force that lead to no plan, by id.
func (s *State) UnknownPrices() []UnknownPrice {
	out := []UnknownPrice{}
	for _, price := range slices.Sorted(maps.Keys(s.unknowns)) {
		customers := slices.Sorted(maps.Keys(s.unknowns[price]))
		out = append(out, UnknownPrice{Price: price, Customers: customers[:min(len(customers), maxNamed)], Count: len(customers)})
	}
	return out
}

// Subscription is the customer's document as of now; false when nothing is
// known of the customer.
func (s *State) Subscription(customer string) (records.Subscription, bool) {
	if len(s.index[customer]) == 0 && s.facts.Customers[customer] == nil {
		return records.Subscription{}, false
	}
	return s.view(customer).doc, true
}

// Payments are the conversions that were said of the customer and hold, by
// key.
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

// Refunds are what was said to have gone back to the customer, or is asked
// back, by key.
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
