package events

import "time"

// Identity is what an app says about a customer beside usage, as JSON. An absent field
// does not change.
type Identity struct {
	Customer       string     `json:"customer,omitempty"`        // raw id
	Email          *string    `json:"email,omitempty"`           // address for upgrade prompts
	Locale         *string    `json:"locale,omitempty"`          // such as "de" or "pt-BR"
	StripeCustomer *string    `json:"stripe_customer,omitempty"` // such as cus_123
	Anchor         *time.Time `json:"anchor,omitempty"`          // when the customer's windows begin
}
