package fold

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// sight is one object as one record showed it.
type sight struct {
	stamp    stamp
	kind     string // event type; "" when it was fetched
	object   any    // what decode has made of it
	previous json.RawMessage
	key      string // metadata key of our customer
}

// absorbed says what a sight touched.
type absorbed struct {
	party    string   // Stripe customer, or ""
	prices   []string // to be committed
	repriced []string // those of them that may lead to another plan now
	products []string
	charge   string
}

// eventSight is false for an event that shows no object.
func eventSight(rec *Record, key string) (sight, bool) {
	e := &rec.Event
	if rec.object == nil || e.Thin || e.ID == "" || e.Created.IsZero() {
		return sight{}, false
	}
	rank := rankUpdated
	switch {
	case strings.HasSuffix(e.Type, ".created"):
		rank = rankCreated
	case strings.HasSuffix(e.Type, ".deleted"):
		rank = rankDeleted
	}
	return sight{
		stamp: stamp{At: e.Created, Rank: rank, ID: e.ID},
		kind:  e.Type, object: rec.object, previous: e.Previous, key: key,
	}, true
}

func fetchedSight(rec *Record, key string) sight {
	at := rec.Fetched.At.UTC().Truncate(time.Second) // as whole as the times of events
	return sight{stamp: stamp{At: at, Rank: rankFetched, Seq: rec.Seq, ID: rec.Fetched.ID}, object: rec.object, key: key}
}

// absorb joins the facts of one object.
func (f *facts) absorb(s sight) absorbed {
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
	return absorbed{}
}

// ours is the customer that metadata or a reference names; what can't be an id
// names nobody.
func ours(id string) string {
	if events.ValidateCustomer(id) != nil {
		return ""
	}
	return id
}

// serialKey is the metadata key by which `tidegate dev` orders its own events
// of one second, where a real subscription never comes back after its end.
const serialKey = "tidegate_dev_serial"

func (f *facts) subscription(s sight, o *subscriptionObject) absorbed {
	if o.ID == "" || o.party() == "" {
		return absorbed{}
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
	out := absorbed{party: o.party()}
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

func (f *facts) invoice(s sight, o *invoiceObject) absorbed {
	sid := o.subscription()
	if o.party() == "" || sid == "" {
		return absorbed{}
	}
	p := f.party(o.party())
	p.claim(sourceInvoice, sid, claim{Stamp: s.stamp, Value: ours(o.claims(s.key))})
	paid := s.kind == "invoice.paid" || s.kind == "invoice.payment_succeeded" || s.kind == "" && o.Status == "paid"
	if paid && o.AmountPaid > 0 {
		at := s.stamp
		if t := o.Transitions.PaidAt.Time; !t.IsZero() { // the same whether an event or a fetch tells
			at.At = t
		} else if s.kind == "" {
			at.At = o.Created.Time
		}
		if !at.At.IsZero() {
			p.sub(sid).pay(evidence{
				Stamp: at, Amount: o.AmountPaid, Currency: strings.ToLower(string(o.Currency)),
				Initial: o.BillingReason == "subscription_create", Billed: o.Created.Time, Items: o.items(),
			})
		}
	}
	return absorbed{party: o.party()}
}

func (f *facts) session(s sight, o *sessionObject) absorbed {
	if o.party() == "" {
		return absorbed{}
	}
	p := f.party(o.party())
	sid := string(o.Subscription)
	p.claim(sourceSession, sid, claim{Stamp: s.stamp, Value: ours(o.Metadata.get(s.key))})
	p.claim(sourceReference, sid, claim{Stamp: s.stamp, Value: ours(string(o.ClientReferenceID))})
	p.Mail, _ = p.Mail.join(claim{Stamp: s.stamp, Value: string(o.CustomerDetails.Email)})
	done := s.kind == "checkout.session.completed" || s.kind == "checkout.session.async_payment_succeeded"
	if done && sid != "" && o.PaymentStatus == "paid" && o.AmountTotal > 0 {
		p.sub(sid).pay(evidence{
			Stamp: s.stamp, Amount: o.AmountTotal, Currency: strings.ToLower(string(o.Currency)),
			Initial: true, Billed: o.Created.Time,
		})
	}
	return absorbed{party: o.party()}
}

func (f *facts) customer(s sight, o *customerObject) absorbed {
	if o.ID == "" {
		return absorbed{}
	}
	p := f.party(string(o.ID))
	if o.Deleted || s.kind == "customer.deleted" {
		if p.Deleted == nil || s.stamp.compare(*p.Deleted) < 0 {
			p.Deleted = &s.stamp
		}
	}
	// The answer to a fetch of a deleted one holds nothing but its id.
	if !o.Deleted && (p.Object.Stamp.ID == "" || s.stamp.compare(p.Object.Stamp) > 0) {
		p.Object = object{Stamp: s.stamp, Email: string(o.Email), Customer: ours(o.Metadata.get(s.key))}
	}
	return absorbed{party: string(o.ID)}
}

func (f *facts) price(s sight, o *priceObject) absorbed {
	stored, matters := f.Prices.addPrice(o.item(), s.stamp)
	if !stored {
		return absorbed{}
	}
	out := absorbed{prices: []string{string(o.ID)}}
	if matters {
		out.repriced = out.prices
	}
	return out
}

func (f *facts) productChange(s sight, o *productObject) absorbed {
	if o.ID == "" || !f.Prices.addProduct(string(o.ID), o.Metadata.get(planKey), s.stamp) {
		return absorbed{}
	}
	return absorbed{products: []string{string(o.ID)}}
}

func (f *facts) party(id string) *party {
	p := f.Parties[id]
	if p == nil {
		p = &party{}
		f.Parties[id] = p
	}
	return p
}
