package events

// Identity is what an app says about a customer beside usage, as JSON. An absent field
// does not change.
type Identity struct {
	Customer string  `json:"customer,omitempty"` // raw id; over NATS the subject names it
	Email    *string `json:"email,omitempty"`    // address for upgrade prompts
	Locale   *string `json:"locale,omitempty"`   // such as "de" or "pt-BR"
}
