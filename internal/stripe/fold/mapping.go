package fold

import (
	"maps"
	"slices"
	"strings"
)

// source is where a claim on a Stripe customer comes from.
type source string

// The sources of claims that are kept by subscription ("" when the object names
// none), best first. The operator's mapping and a subscription's own metadata are
// better than these; the Stripe customer's metadata comes last.
const (
	sourceInvoice   source = "2/" // its subscription's metadata, as the invoice shows it
	sourceSession   source = "3/" // a checkout session's metadata
	sourceReference source = "4/" // a checkout session's client_reference_id
)

var sources = []source{sourceInvoice, sourceSession, sourceReference}

// link is the operator's newest mapping of a Stripe customer.
type link struct {
	Customer string `cbor:"c,omitempty"`
	Seq      uint64 `cbor:"s"`
}

// linked returns the customer that the operator has mapped a Stripe customer to,
// or "".
func (s *State) linked(id string) string {
	l := s.facts.Links[id]
	if l.Customer == "" || s.facts.Unlinked[l.Customer] > l.Seq {
		return ""
	}
	return l.Customer
}

// link applies a mapping of the operator.
func (s *State) link(m Mapping, seq uint64) []Change {
	if m.StripeCustomer == "" {
		return s.unlink(m.Customer, seq)
	}
	if old, ok := s.facts.Links[m.StripeCustomer]; ok && old.Seq >= seq {
		return nil
	}
	// Only mappings count here: they are read in their order, while Stripe's objects
	// come in any.
	if c := s.linked(m.StripeCustomer); m.UnlessTaken && c != "" && c != m.Customer {
		return nil
	}
	if former := s.facts.Customers[s.linked(m.StripeCustomer)]; former != nil {
		// Of several mappings, the newest is shown, which only who mapped it has said: let
		// change say another one.
		former.Party = m.StripeCustomer
	}
	s.facts.Links[m.StripeCustomer] = link{Customer: m.Customer, Seq: seq}
	s.dirty.links[m.StripeCustomer] = true
	s.facts.party(m.StripeCustomer)
	s.dirty.parties[m.StripeCustomer] = true
	return s.changes(s.reindex(m.StripeCustomer))
}

// unlink removes all mappings of a customer that are older than the record.
func (s *State) unlink(customer string, seq uint64) []Change {
	if s.facts.Unlinked[customer] >= seq {
		return nil
	}
	s.facts.Unlinked[customer] = seq
	s.dirty.unlinked[customer] = true
	affected := map[string]bool{}
	for id, l := range s.facts.Links {
		if l.Customer == customer {
			maps.Copy(affected, s.reindex(id))
		}
	}
	return s.changes(affected)
}

// owners returns the customers that a Stripe customer belongs to. There are
// several when its subscriptions name different ones.
func (s *State) owners(id string) map[string]bool {
	p := s.facts.Parties[id]
	if p == nil {
		return nil
	}
	out := map[string]bool{}
	if c := s.partyOwner(id, p); c != "" {
		out[c] = true
	}
	for sid, sub := range p.Subs {
		if c := s.subOwner(id, p, sid, sub); c != "" {
			out[c] = true
		}
	}
	return out
}

// subOwner returns the customer that a subscription belongs to. The operator's
// mapping decides, else the subscription's own objects, else its Stripe
// customer's metadata, else the Stripe customer's other objects. An e-mail
// address never decides.
func (s *State) subOwner(id string, p *party, sid string, sub *sub) string {
	if c := s.linked(id); c != "" {
		return c
	}
	if v, ok := sub.newest(); ok && v.Customer != "" {
		return v.Customer
	}
	for _, src := range sources {
		if c := p.Claims[string(src)+sid]; c.Value != "" {
			return c.Value
		}
	}
	if p.Object.Customer != "" {
		return p.Object.Customer
	}
	return s.partyOwner(id, p)
}

// partyOwner returns the customer that a Stripe customer as a whole belongs to.
func (s *State) partyOwner(id string, p *party) string {
	if c := s.linked(id); c != "" {
		return c
	}
	var best claim
	for _, sid := range slices.Sorted(maps.Keys(p.Subs)) {
		if v, ok := p.Subs[sid].newest(); ok {
			best, _ = best.merge(claim{Stamp: v.Stamp, Value: v.Customer})
		}
	}
	for _, src := range sources {
		if best.Value != "" {
			break
		}
		for _, key := range slices.Sorted(maps.Keys(p.Claims)) {
			if strings.HasPrefix(key, string(src)) {
				best, _ = best.merge(p.Claims[key])
			}
		}
	}
	if best.Value != "" {
		return best.Value
	}
	return p.Object.Customer
}
