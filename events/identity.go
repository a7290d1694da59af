package events

import "time"

// Identity is what an app says of a customer beside usage, as JSON. A field that
// is absent stays as it is known.
type Identity struct {
	Customer       string     `json:"customer,omitempty"`        // raw id
	Email          *string    `json:"email,omitempty"`           // where an upgrade prompt goes
	Locale         *string    `json:"locale,omitempty"`          // such as "de" or "pt-BR"
	StripeCustomer *string    `json:"stripe_customer,omitempty"` // such as cus_123
	Anchor         *time.Time `json:"anchor,omitempty"`          // where the customer's windows begin
}
