package fold

// Ref names a Stripe object.
type Ref struct {
	Type string `json:"type"` // such as subscription
	ID   string `json:"id"`
}

// Refs returns the objects that the event may have changed and that should be
// fetched from Stripe, because events come in any order and a thin event holds
// no object. Objects that never change after their event, such as a paid
// invoice, are left out.
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
		if e.Type == "customer.subscription.created" { // no event shows the customer's metadata and address
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
	case "dispute": // names a charge but no customer
		var o disputeObject
		lenient(e.Object, &o)
		return refs(Ref{"charge", string(o.Charge)})
	case "customer", "price", "product":
		return refs(self)
	}
	return nil
}

// refs drops references without a type or an id.
func refs(all ...Ref) (found []Ref) {
	for _, r := range all {
		if r.ID != "" && r.Type != "" {
			found = append(found, r)
		}
	}
	return found
}

// MessageID returns the message id under which an event is published to BILLING.
// BILLING drops duplicates for four days; after that the fold drops them.
func MessageID(event string) string { return "stripe/" + event }
