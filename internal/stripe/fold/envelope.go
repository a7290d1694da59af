package fold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Envelope is a Stripe event of any API version. A field that the payload lacks,
// or has in an unknown form, is zero.
type Envelope struct {
	ID         string          // evt_…
	Type       string          // such as customer.subscription.updated
	Created    time.Time       // by Stripe's clock, in whole seconds; UTC
	APIVersion string          // the version that Object has the shape of
	Livemode   *bool           // false in Stripe's test mode; nil: not given
	Thin       bool            // a v2 event: it names an object instead of holding it
	Related    Ref             // the object that a thin event names
	Object     json.RawMessage // data.object, or nil
	Previous   json.RawMessage // data.previous_attributes, or nil
}

// ParseEnvelope reads a payload. It returns ErrPayload only for a body that is
// not a JSON object: Stripe repeats a webhook that is answered with an error for
// days.
func ParseEnvelope(body []byte) (Envelope, error) {
	if bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return Envelope{}, nil
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	var e Envelope
	var object string
	lenient(top["id"], &e.ID)
	lenient(top["type"], &e.Type)
	lenient(top["object"], &object)
	lenient(top["api_version"], &e.APIVersion)
	lenient(top["livemode"], &e.Livemode)
	var created stripeTime
	lenient(top["created"], &created)
	e.Created = created.Time
	e.Thin = object == "v2.core.event"
	lenient(top["related_object"], &e.Related)
	var data map[string]json.RawMessage
	lenient(top["data"], &data)
	e.Object, e.Previous = present(data["object"]), present(data["previous_attributes"])
	return e, nil
}

// lenient decodes raw into out. It leaves out unchanged when raw is absent or of
// another type.
func lenient[T any](raw json.RawMessage, out *T) {
	var v T
	if len(raw) > 0 && json.Unmarshal(raw, &v) == nil {
		*out = v
	}
}

// present returns raw, or nil for JSON's null.
func present(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return raw
}
