package notifier

import (
	"encoding/json"
	"fmt"
	"time"
)

// Mail is a mail as a Sender gets it.
type Mail struct {
	Key  string    // idempotency key
	At   time.Time // when the first attempt began
	Body []byte    // a Message as JSON; the same bytes for the same key
}

// Message is the content of a mail, as the provider's API takes it
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

// Tag is a label that the provider sends back in its webhooks. Name and value hold
// only ASCII letters, digits, "_" and "-".
type Tag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (m *Message) encode() ([]byte, error) { return json.Marshal(m) }

// Message decodes the body.
func (m *Mail) Message() (*Message, error) {
	var msg Message
	if err := json.Unmarshal(m.Body, &msg); err != nil {
		return nil, fmt.Errorf("stored mail %s: %w", m.Key, err)
	}
	return &msg, nil
}
