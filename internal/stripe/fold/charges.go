package fold

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// chargeFact is a charge of which money went back, or is asked back. Nothing of
// it changes what a customer may use: that is for the subscription to say.
type chargeFact struct {
	Party    string   `cbor:"p,omitempty"` // unknown while only a dispute has spoken of it
	Currency string   `cbor:"c,omitempty"`
	Refund   *giving  `cbor:"r,omitempty"` // all refunds together, as first seen with the largest amount
	Disputes []giving `cbor:"d,omitempty"` // by id
}

// giving is money that goes back.
type giving struct {
	ID       string `cbor:"i,omitempty"` // of a dispute
	Stamp    stamp  `cbor:"s"`
	Amount   int64  `cbor:"a"`
	Currency string `cbor:"c,omitempty"`
}

// join keeps the larger amount, and of one amount the earlier sight.
func (g giving) join(o giving) giving {
	if c := cmp.Or(cmp.Compare(o.Amount, g.Amount), g.Stamp.compare(o.Stamp)); c > 0 {
		return o
	}
	return g
}

// charge joins a charge whose refund an event told, or that was fetched, for
// instance because of a dispute, which does not say whose it is.
func (f *facts) charge(s sight, o *chargeObject) absorbed {
	if o.ID == "" || o.party() == "" || s.kind != "" && s.kind != "charge.refunded" {
		return absorbed{}
	}
	c := f.chargeOf(string(o.ID))
	c.Party = o.party()
	if o.AmountRefunded > 0 {
		g := giving{Stamp: s.stamp, Amount: o.AmountRefunded, Currency: strings.ToLower(string(o.Currency))}
		if c.Refund != nil {
			g = c.Refund.join(g)
		}
		c.Refund = &g
	}
	f.party(c.Party)
	return absorbed{party: c.Party, charge: string(o.ID)}
}

func (f *facts) dispute(s sight, o *disputeObject) absorbed {
	if o.ID == "" || o.Charge == "" {
		return absorbed{}
	}
	c := f.chargeOf(string(o.Charge))
	g := giving{ID: string(o.ID), Stamp: s.stamp, Amount: o.Amount, Currency: strings.ToLower(string(o.Currency))}
	i, found := slices.BinarySearchFunc(c.Disputes, g.ID, func(d giving, id string) int { return cmp.Compare(d.ID, id) })
	if found {
		c.Disputes[i] = c.Disputes[i].join(g)
	} else {
		c.Disputes = slices.Insert(c.Disputes, i, g)
	}
	return absorbed{party: c.Party, charge: string(o.Charge)}
}

func (f *facts) chargeOf(id string) *chargeFact {
	c := f.Charges[id]
	if c == nil {
		c = &chargeFact{}
		f.Charges[id] = c
	}
	return c
}

// refunds are what went back to the customer, by key.
func (s *State) refunds(customer string) map[string]records.Refund {
	out := map[string]records.Refund{}
	for pid := range s.index[customer] {
		if len(s.charged[pid]) == 0 || s.partyOwner(pid, s.facts.Parties[pid]) != customer {
			continue
		}
		for id := range s.charged[pid] {
			c := s.facts.Charges[id]
			if g := c.Refund; g != nil {
				out[id] = g.refund(id, false)
			}
			for _, g := range c.Disputes {
				out[g.ID] = g.refund(g.ID, true)
			}
		}
	}
	return out
}

func (g *giving) refund(key string, dispute bool) records.Refund {
	return records.Refund{Key: key, Event: g.Stamp.ID, Amount: g.Amount, Currency: g.Currency, At: g.Stamp.At, Dispute: dispute}
}

func sameRefund(a, b records.Refund) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && a == b
}

// refund says which refunds are new, differ, or turned out to be another's.
func (s *State) refund(customer string, now *sent) []Change {
	var out []Change
	say := func(r records.Refund) {
		out = append(out, Change{Customer: customer, Account: &records.Account{Customer: customer, Refund: &r}})
	}
	is := s.refunds(customer)
	for _, key := range slices.Sorted(maps.Keys(now.Refunds)) {
		if r := now.Refunds[key]; is[key].Key == "" {
			r.Void = true
			say(r)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if !sameRefund(is[key], now.Refunds[key]) {
			say(is[key])
		}
	}
	now.Refunds = is
	return out
}
