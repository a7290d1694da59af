package notifier

import (
	"encoding/json"
	"fmt"
	"time"
)

// Mail is what a Sender sends.
type Mail struct {
	Key  string    // idempotency key: the same key is the same mail
	At   time.Time // of the first try
	Body []byte    // a Message as JSON; always the same bytes for a key
}

// Message is a mail in the form of the provider's API
// (https://resend.com/docs/api-reference/emails/send-email).
type Message struct {
	From    string            `json:"from"`
	To      []string          `json:"to"`
	Subject string            `json:"subject"`
	HTML    string            `json:"html"`
	Text    string            `json:"text"`
	Headers map[string]string `json:"headers,omitempty"`
	Tags    []Tag             `json:"tags,omitempty"`
}

// Tag comes back in the provider's webhooks. Name and value are ASCII letters,
// digits, "_" and "-".
type Tag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (m *Message) encode() ([]byte, error) { return json.Marshal(m) }

// Message reads the mail's body.
func (m *Mail) Message() (*Message, error) {
	var msg Message
	if err := json.Unmarshal(m.Body, &msg); err != nil {
		return nil, fmt.Errorf("stored mail %s: %w", m.Key, err)
	}
	return &msg, nil
}
