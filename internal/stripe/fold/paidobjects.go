package fold

import "slices"

type subscriptionDetails struct {
	Subscription ref      `json:"subscription"`
	Metadata     metadata `json:"metadata"`
}

type lineItem struct {
	Amount       int64       `json:"amount"`
	Subscription ref         `json:"subscription"`
	Price        priceObject `json:"price"`
	Pricing      struct {
		Details struct {
			Price   ref `json:"price"`
			Product ref `json:"product"`
		} `json:"price_details"`
	} `json:"pricing"`
	Parent struct {
		Item subscriptionDetails `json:"subscription_item_details"`
	} `json:"parent"`
}

type invoiceObject struct {
	ID text `json:"id"`
	holder
	Subscription  ref                 `json:"subscription"` // before 2025-03-31
	Details       subscriptionDetails `json:"subscription_details"`
	Status        text                `json:"status"`
	AmountPaid    int64               `json:"amount_paid"`
	Currency      text                `json:"currency"`
	BillingReason text                `json:"billing_reason"`
	Created       stripeTime          `json:"created"`
	Lines         listOf[lineItem]    `json:"lines"`
	Parent        struct {
		Details subscriptionDetails `json:"subscription_details"`
	} `json:"parent"`
	Transitions struct {
		PaidAt stripeTime `json:"paid_at"`
	} `json:"status_transitions"`
}

// subscription returns the id of the invoice's subscription, or "".
func (i *invoiceObject) subscription() string {
	for _, r := range []ref{i.Subscription, i.Parent.Details.Subscription} {
		if r != "" {
			return string(r)
		}
	}
	for _, l := range i.Lines.Data {
		if l.Subscription != "" {
			return string(l.Subscription)
		}
		if l.Parent.Item.Subscription != "" {
			return string(l.Parent.Item.Subscription)
		}
	}
	return ""
}

// claims returns the customer that the subscription's metadata names, or "".
func (i *invoiceObject) claims(key string) string {
	if c := i.Details.Metadata.get(key); c != "" {
		return c
	}
	return i.Parent.Details.Metadata.get(key)
}

// items returns the prices that were charged, without credits for unused time.
func (i *invoiceObject) items() []item {
	var items []item
	for _, l := range i.Lines.Data {
		p := l.Price
		if p.ID == "" {
			p.ID, p.Product = text(l.Pricing.Details.Price), l.Pricing.Details.Product
		}
		if p.ID != "" && l.Amount > 0 {
			items = append(items, p.item())
		}
	}
	slices.SortFunc(items, item.compare)
	return slices.Compact(items)
}

type sessionObject struct {
	ID text `json:"id"`
	holder
	Subscription      ref        `json:"subscription"`
	ClientReferenceID text       `json:"client_reference_id"`
	PaymentStatus     text       `json:"payment_status"`
	AmountTotal       int64      `json:"amount_total"`
	Currency          text       `json:"currency"`
	Created           stripeTime `json:"created"`
	Metadata          metadata   `json:"metadata"`
	CustomerDetails   struct {
		Email text `json:"email"`
	} `json:"customer_details"`
}

type chargeObject struct {
	ID text `json:"id"`
	holder
	AmountRefunded int64 `json:"amount_refunded"`
	Currency       text  `json:"currency"`
}

type disputeObject struct {
	ID       text  `json:"id"`
	Charge   ref   `json:"charge"`
	Amount   int64 `json:"amount"`
	Currency text  `json:"currency"`
}
