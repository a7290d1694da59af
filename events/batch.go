package events

import "encoding/binary"

// The content types of messages in USAGE (header Content-Type). A message
// without one holds one JSON event.
const (
	ContentTypeHeader = "Content-Type"
	ContentTypeEvent  = "application/cloudevents+json"
	ContentTypeBatch  = "application/cloudevents-batch+protobuf"
)

// Field numbers and wire types of CloudEvents' protobuf format
// (io.cloudevents.v1.CloudEventBatch). The code is written by hand, so that an app
// does not need a protobuf runtime for a message of seven fields.
const (
	fieldEvents     = 1<<3 | 2  // CloudEventBatch.events
	fieldFormat     = 15<<3 | 0 // of the message, before its events; without it, 1
	fieldID         = 1<<3 | 2
	fieldSource     = 2<<3 | 2
	fieldSpec       = 3<<3 | 2
	fieldType       = 4<<3 | 2
	fieldAttributes = 5<<3 | 2 // map<string, CloudEventAttributeValue>
	fieldText       = 7<<3 | 2 // text_data
	fieldMapKey     = 1<<3 | 2
	fieldMapValue   = 2<<3 | 2
	fieldCeString   = 3<<3 | 2
	fieldCeTime     = 7<<3 | 2
	fieldSeconds    = 1<<3 | 0
	fieldNanos      = 2<<3 | 0
)

// AppendBatch appends e to a packed message and returns it. A packed message is the
// concatenation of its events, so an empty slice begins a new one.
func AppendBatch(b []byte, e *Event) []byte {
	n := textSize(e.ID) + textSize(e.Source) + textSize("1.0") + textSize(e.Type)
	subject := textSize("subject") + sized(textSize(e.Subject))
	n += sized(subject)
	var sec, nano, stamp, when int
	if !e.Time.IsZero() {
		sec, nano = 1+uvarintSize(uint64(e.Time.Unix())), 0
		if e.Time.Nanosecond() != 0 {
			nano = 1 + uvarintSize(uint64(e.Time.Nanosecond()))
		}
		stamp = sec + nano
		when = textSize("time") + sized(sized(stamp))
		n += sized(when)
	}
	if e.Data != nil {
		n += sized(len(e.Data))
	}
	b = appendLen(b, fieldEvents, n)
	b = appendText(b, fieldID, e.ID)
	b = appendText(b, fieldSource, e.Source)
	b = appendText(b, fieldSpec, "1.0")
	b = appendText(b, fieldType, e.Type)
	b = appendLen(b, fieldAttributes, subject)
	b = appendText(b, fieldMapKey, "subject")
	b = appendLen(b, fieldMapValue, textSize(e.Subject))
	b = appendText(b, fieldCeString, e.Subject)
	if when > 0 {
		b = appendLen(b, fieldAttributes, when)
		b = appendText(b, fieldMapKey, "time")
		b = appendLen(b, fieldMapValue, sized(stamp))
		b = appendLen(b, fieldCeTime, stamp)
		b = binary.AppendUvarint(append(b, fieldSeconds), uint64(e.Time.Unix()))
		if nano > 0 {
			b = binary.AppendUvarint(append(b, fieldNanos), uint64(e.Time.Nanosecond()))
		}
	}
	if e.Data != nil {
		b = append(appendLen(b, fieldText, len(e.Data)), e.Data...)
	}
	return b
}

func sized(n int) int       { return 1 + uvarintSize(uint64(n)) + n }
func textSize(s string) int { return sized(len(s)) }
func uvarintSize(v uint64) (n int) {
	for n = 1; v >= 0x80; n++ {
		v >>= 7
	}
	return n
}
func appendLen(b []byte, field byte, n int) []byte {
	return binary.AppendUvarint(append(b, field), uint64(n))
}
func appendText(b []byte, field byte, s string) []byte {
	return append(appendLen(b, field, len(s)), s...)
}
