package fold

// Ref names an object of Stripe's.
type Ref struct {
	Type string `json:"type"` // such as subscription
	ID   string `json:"id"`
}

// Refs are the objects that an event may have changed and that are worth asking
// Stripe for: events come in any order, and a thin one holds nothing. What never
// changes again once an event shows it, such as a paid invoice, is not among
// them.
func (e *Envelope) Refs() []Ref {
	if e.Thin {
		return refs(e.Related)
	}
	head, err := headOf(e.Object)
	if err != nil {
		return nil
	}
	self := Ref{string(head.Object), string(head.ID)}
	switch self.Type {
	case "subscription":
		var o subscriptionObject
		lenient(e.Object, &o)
		found := []Ref{self}
		if e.Type == "customer.subscription.created" { // its metadata and address came with no event
			found = append(found, Ref{"customer", string(o.Customer)})
		}
		for _, it := range o.items() {
			found = append(found, Ref{"product", it.Product}) // its metadata may name a plan
		}
		return refs(found...)
	case "invoice":
		var o invoiceObject
		lenient(e.Object, &o)
		return refs(Ref{"subscription", o.subscription()})
	case "checkout.session":
		var o sessionObject
		lenient(e.Object, &o)
		return refs(Ref{"subscription", string(o.Subscription)}, Ref{"customer", string(o.Customer)})
	case "dispute": // does not say whose it is
		var o disputeObject
		lenient(e.Object, &o)
		return refs(Ref{"charge", string(o.Charge)})
	case "customer", "price", "product":
		return refs(self)
	}
	return nil
}

// refs drops what has no id.
func refs(all ...Ref) (found []Ref) {
	for _, r := range all {
		if r.ID != "" && r.Type != "" {
			found = append(found, r)
		}
	}
	return found
}

// MessageID is the id under which an event is published to BILLING, which takes
// it once in four days; later the fold knows it.
func MessageID(event string) string { return "stripe/" + event }
