package billing

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// sight is one object as one record showed it.
type sight struct {
	stamp    stamp
	kind     string // event type; "" when it was fetched
	object   json.RawMessage
	previous json.RawMessage
	key      string // metadata key of our customer
}

// absorbed says what a sight touched.
type absorbed struct {
	party    string   // Stripe customer, or ""
	prices   []string // to be committed
	repriced []string // those of them that may lead to another plan now
	products []string
}

// eventSight is false for an event that shows no object.
func eventSight(e *Envelope, key string) (sight, bool) {
	if e.Thin || e.Object == nil || e.ID == "" || e.Created.IsZero() {
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
		kind:  e.Type, object: e.Object, previous: e.Previous, key: key,
	}, true
}

func fetchedSight(f *Fetched, seq uint64, key string) sight {
	at := f.At.UTC().Truncate(time.Second) // as whole as the times of events
	return sight{stamp: stamp{At: at, Rank: rankFetched, Seq: seq, ID: f.ID}, object: f.Object, key: key}
}

// absorb joins the facts of one object; what the fold has no use for is left
// alone. The error is ErrRecord.
func (f *facts) absorb(s sight) (absorbed, error) {
	head, err := headOf(s.object)
	if err != nil {
		return absorbed{}, err
	}
	switch head.Object {
	case "subscription":
		return read(s, f.subscription)
	case "invoice":
		return read(s, f.invoice)
	case "checkout.session":
		return read(s, f.session)
	case "customer":
		return read(s, f.customer)
	case "price":
		return read(s, f.price)
	case "product":
		return read(s, f.productChange)
	}
	return absorbed{}, nil
}

func read[T any](s sight, join func(sight, *T) absorbed) (absorbed, error) {
	o := new(T)
	if err := json.Unmarshal(s.object, o); err != nil {
		return absorbed{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return join(s, o), nil
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
	if o.ID == "" || o.Customer == "" {
		return absorbed{}
	}
	if n := o.Metadata.get(serialKey); n != "" {
		lenient(json.RawMessage(n), &s.stamp.Serial)
	}
	v := version{
		Stamp: s.stamp, Status: string(o.Status), Items: o.items(),
		PeriodEnd: o.periodEnd(), CancelAt: o.CancelAt.Time, AtPeriodEnd: o.AtPeriodEnd, TrialEnd: o.TrialEnd.Time,
		Customer: ours(o.Metadata.get(s.key)), Previous: previousOf(s.previous),
	}
	if s.stamp.Rank == rankDeleted {
		v.Status = "canceled"
	}
	p := f.party(string(o.Customer))
	p.sub(string(o.ID)).add(v, o.Created.Time)
	out := absorbed{party: string(o.Customer)}
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
	if o.Customer == "" || sid == "" {
		return absorbed{}
	}
	p := f.party(string(o.Customer))
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
	return absorbed{party: string(o.Customer)}
}

func (f *facts) session(s sight, o *sessionObject) absorbed {
	if o.Customer == "" {
		return absorbed{}
	}
	p := f.party(string(o.Customer))
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
	return absorbed{party: string(o.Customer)}
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
