package fold

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// chargeFact is a charge that was refunded or disputed. It does not change what
// a customer may use: only the subscription does.
type chargeFact struct {
	Party    string     `cbor:"p,omitempty"` // "" while only a dispute has named the charge
	Currency string     `cbor:"c,omitempty"`
	Refund   *reversal  `cbor:"r,omitempty"` // all refunds together, as first seen with the largest amount
	Disputes []reversal `cbor:"d,omitempty"` // by id
}

// reversal is money that goes back to the customer.
type reversal struct {
	ID       string `cbor:"i,omitempty"` // of a dispute
	Stamp    stamp  `cbor:"s"`
	Amount   int64  `cbor:"a"`
	Currency string `cbor:"c,omitempty"`
}

// merge keeps the larger amount, and of equal amounts the earlier observation.
func (g reversal) merge(o reversal) reversal {
	if c := cmp.Or(cmp.Compare(o.Amount, g.Amount), g.Stamp.compare(o.Stamp)); c > 0 {
		return o
	}
	return g
}

// charge merges a charge from a refund's event or from a fetch. A dispute causes
// such a fetch, because it does not name the customer.
func (f *facts) charge(s observation, o *chargeObject) touched {
	if o.ID == "" || o.party() == "" || s.kind != "" && s.kind != "charge.refunded" {
		return touched{}
	}
	c := f.chargeOf(string(o.ID))
	c.Party = o.party()
	if o.AmountRefunded > 0 {
		g := reversal{Stamp: s.stamp, Amount: o.AmountRefunded, Currency: strings.ToLower(string(o.Currency))}
		if c.Refund != nil {
			g = c.Refund.merge(g)
		}
		c.Refund = &g
	}
	f.party(c.Party)
	return touched{party: c.Party, charge: string(o.ID)}
}

func (f *facts) dispute(s observation, o *disputeObject) touched {
	if o.ID == "" || o.Charge == "" {
		return touched{}
	}
	c := f.chargeOf(string(o.Charge))
	g := reversal{ID: string(o.ID), Stamp: s.stamp, Amount: o.Amount, Currency: strings.ToLower(string(o.Currency))}
	i, found := slices.BinarySearchFunc(c.Disputes, g.ID, func(d reversal, id string) int { return cmp.Compare(d.ID, id) })
	if found {
		c.Disputes[i] = c.Disputes[i].merge(g)
	} else {
		c.Disputes = slices.Insert(c.Disputes, i, g)
	}
	return touched{party: c.Party, charge: string(o.Charge)}
}

func (f *facts) chargeOf(id string) *chargeFact {
	c := f.Charges[id]
	if c == nil {
		c = &chargeFact{}
		f.Charges[id] = c
	}
	return c
}

// refunds returns the customer's refunds and disputes by key.
func (s *State) refunds(customer string) map[string]records.Refund {
	out := map[string]records.Refund{}
	for pid := range s.index[customer] {
		if len(s.charged[pid]) == 0 || s.partyOwner(pid, s.facts.Parties[pid]) != customer {
			continue
		}
		for id := range s.charged[pid] {
			c := s.facts.Charges[id]
			if g := c.Refund; g != nil {
				out[id] = g.record(id, false)
			}
			for _, g := range c.Disputes {
				out[g.ID] = g.record(g.ID, true)
			}
		}
	}
	return out
}

func (g *reversal) record(key string, dispute bool) records.Refund {
	return records.Refund{Key: key, Event: g.Stamp.ID, Amount: g.Amount, Currency: g.Currency, At: g.Stamp.At, Dispute: dispute}
}

func sameRefund(a, b records.Refund) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && a == b
}

// changedRefunds returns the refunds that are new or differ and, as void, those
// that turned out to be another customer's. It updates now.
func (s *State) changedRefunds(customer string, now *emitted) []Change {
	var out []Change
	emit := func(r records.Refund) {
		out = append(out, Change{Customer: customer, Account: &records.Account{Customer: customer, Refund: &r}})
	}
	is := s.refunds(customer)
	for _, key := range slices.Sorted(maps.Keys(now.Refunds)) {
		if r := now.Refunds[key]; is[key].Key == "" {
			r.Void = true
			emit(r)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if !sameRefund(is[key], now.Refunds[key]) {
			emit(is[key])
		}
	}
	now.Refunds = is
	return out
}
