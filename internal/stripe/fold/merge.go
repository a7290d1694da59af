package fold

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// observation is one object as one record shows it.
type observation struct {
	stamp    stamp
	kind     string // event type; "" when it was fetched
	object   any    // from decode
	previous json.RawMessage
	key      string // metadata key of our customer
}

// touched lists what an observation changed.
type touched struct {
	party    string   // Stripe customer, or ""
	prices   []string // to be committed
	repriced []string // those of prices that may lead to another plan now
	products []string
	charge   string
}

// eventObservation returns false for an event without an object.
func eventObservation(rec *Record, key string) (observation, bool) {
	e := &rec.Event
	if rec.object == nil || e.Thin || e.ID == "" || e.Created.IsZero() {
		return observation{}, false
	}
	rank := rankUpdated
	switch {
	case strings.HasSuffix(e.Type, ".created"):
		rank = rankCreated
	case strings.HasSuffix(e.Type, ".deleted"):
		rank = rankDeleted
	}
	return observation{
		stamp: stamp{At: e.Created, Rank: rank, ID: e.ID},
		kind:  e.Type, object: rec.object, previous: e.Previous, key: key,
	}, true
}

func fetchedObservation(rec *Record, key string) observation {
	at := rec.Fetched.At.UTC().Truncate(time.Second) // events have whole seconds too
	return observation{stamp: stamp{At: at, Rank: rankFetched, Seq: rec.Seq, ID: rec.Fetched.ID}, object: rec.object, key: key}
}

// merge adds the facts of one object.
func (f *facts) merge(s observation) touched {
	switch o := s.object.(type) {
	case *subscriptionObject:
		return f.subscription(s, o)
	case *invoiceObject:
		return f.invoice(s, o)
	case *sessionObject:
		return f.session(s, o)
	case *customerObject:
		return f.customer(s, o)
	case *priceObject:
		return f.price(s, o)
	case *productObject:
		return f.productChange(s, o)
	case *chargeObject:
		return f.charge(s, o)
	case *disputeObject:
		return f.dispute(s, o)
	}
	return touched{}
}

// validCustomer returns id, or "" when it can't be a customer's id.
func validCustomer(id string) string {
	if events.ValidateCustomer(id) != nil {
		return ""
	}
	return id
}

// serialKey is the metadata key by which `tidegate dev` orders its events within
// one second. It needs its own order, because it restarts a subscription after
// its end, which Stripe never does.
const serialKey = "tidegate_dev_serial"

func (f *facts) subscription(s observation, o *subscriptionObject) touched {
	if o.ID == "" || o.party() == "" {
		return touched{}
	}
	if n := o.Metadata.get(serialKey); n != "" {
		lenient(json.RawMessage(n), &s.stamp.Serial)
	}
	v := o.version(s.key)
	v.Stamp, v.Previous = s.stamp, previousOf(s.previous)
	if s.stamp.Rank == rankDeleted {
		v.Status = "canceled"
	}
	p := f.party(o.party())
	p.sub(string(o.ID)).add(v, o.Created.Time)
	out := touched{party: o.party()}
	for _, it := range v.Items {
		stored, matters := f.Prices.addPrice(it, s.stamp)
		if stored {
			out.prices = append(out.prices, it.Price)
		}
		if matters {
			out.repriced = append(out.repriced, it.Price)
		}
	}
	return out
}

func (f *facts) invoice(s observation, o *invoiceObject) touched {
	sid := o.subscription()
	if o.party() == "" || sid == "" {
		return touched{}
	}
	p := f.party(o.party())
	p.claim(sourceInvoice, sid, claim{Stamp: s.stamp, Value: validCustomer(o.claims(s.key))})
	paid := s.kind == "invoice.paid" || s.kind == "invoice.payment_succeeded" || s.kind == "" && o.Status == "paid"
	if paid && o.AmountPaid > 0 {
		at := s.stamp
		if t := o.Transitions.PaidAt.Time; !t.IsZero() { // events and fetches both show it
			at.At = t
		} else if s.kind == "" {
			at.At = o.Created.Time
		}
		if !at.At.IsZero() {
			p.sub(sid).addPayment(evidence{
				Stamp: at, Amount: o.AmountPaid, Currency: strings.ToLower(string(o.Currency)),
				Initial: o.BillingReason == "subscription_create", Billed: o.Created.Time, Items: o.items(),
			})
		}
	}
	return touched{party: o.party()}
}

func (f *facts) session(s observation, o *sessionObject) touched {
	if o.party() == "" {
		return touched{}
	}
	p := f.party(o.party())
	sid := string(o.Subscription)
	p.claim(sourceSession, sid, claim{Stamp: s.stamp, Value: validCustomer(o.Metadata.get(s.key))})
	p.claim(sourceReference, sid, claim{Stamp: s.stamp, Value: validCustomer(string(o.ClientReferenceID))})
	p.Mail, _ = p.Mail.merge(claim{Stamp: s.stamp, Value: string(o.CustomerDetails.Email)})
	done := s.kind == "checkout.session.completed" || s.kind == "checkout.session.async_payment_succeeded"
	if done && sid != "" && o.PaymentStatus == "paid" && o.AmountTotal > 0 {
		p.sub(sid).addPayment(evidence{
			Stamp: s.stamp, Amount: o.AmountTotal, Currency: strings.ToLower(string(o.Currency)),
			Initial: true, Billed: o.Created.Time,
		})
	}
	return touched{party: o.party()}
}

func (f *facts) customer(s observation, o *customerObject) touched {
	if o.ID == "" {
		return touched{}
	}
	p := f.party(string(o.ID))
	if o.Deleted || s.kind == "customer.deleted" {
		if p.Deleted == nil || s.stamp.compare(*p.Deleted) < 0 {
			p.Deleted = &s.stamp
		}
	}
	// A fetched object of a deleted customer has nothing but its id.
	if !o.Deleted && (p.Object.Stamp.ID == "" || s.stamp.compare(p.Object.Stamp) > 0) {
		p.Object = object{Stamp: s.stamp, Email: string(o.Email), Customer: validCustomer(o.Metadata.get(s.key))}
	}
	return touched{party: string(o.ID)}
}

func (f *facts) price(s observation, o *priceObject) touched {
	stored, matters := f.Prices.addPrice(o.item(), s.stamp)
	if !stored {
		return touched{}
	}
	out := touched{prices: []string{string(o.ID)}}
	if matters {
		out.repriced = out.prices
	}
	return out
}

func (f *facts) productChange(s observation, o *productObject) touched {
	if o.ID == "" || !f.Prices.addProduct(string(o.ID), o.Metadata.get(planKey), s.stamp) {
		return touched{}
	}
	return touched{products: []string{string(o.ID)}}
}

func (f *facts) party(id string) *party {
	p := f.Parties[id]
	if p == nil {
		p = &party{}
		f.Parties[id] = p
	}
	return p
}
