package events

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"
)

// The content types of messages in USAGE (header Content-Type). A message
// without one holds one JSON event.
const (
	ContentTypeHeader = "Content-Type"
	ContentTypeEvent  = "application/cloudevents+json"
	ContentTypeBatch  = "application/cloudevents-batch+protobuf"
)

// Field numbers and wire types of CloudEvents' protobuf format
// (io.cloudevents.v1.CloudEventBatch), written by hand because a message of
// seven fields is no reason to hand every app a protobuf runtime.
const (
	fieldEvents     = 1<<3 | 2 // CloudEventBatch.events
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

// AppendBatch appends e to a packed message. A packed message is the
// concatenation of its events, so an empty slice begins one.
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

// EachInBatch calls f with every event of a packed message, in order; err is
// why the event at that index cannot be read (the others can). It returns an
// error when the frame itself is broken, after the events before the break.
// Data and raw are parts of b; the events' strings are parts of one copy of b:
// clone those that outlive the message.
func EachInBatch(b []byte, f func(index int, e Event, raw []byte, err error)) error {
	text := string(b) // one copy, which the strings of all events share
	for i, at := 0, 0; at < len(b); i++ {
		field, raw, next, ok := takeField(text, at)
		if !ok || field != fieldEvents {
			return fmt.Errorf("%w: the packed message is broken after event %d", ErrInvalid, i)
		}
		bytes := b[next-len(raw) : next : next]
		e, err := decodeProto(raw, bytes)
		f(i, e, bytes, err)
		at = next
	}
	return nil
}

// takeField reads one length-delimited or varint field at i.
func takeField(s string, i int) (field uint64, value string, next int, ok bool) {
	if i+1 < len(s) && s[i] < 0x80 && s[i]&7 == 2 && s[i+1] < 0x80 { // nearly all are short
		if start, end := i+2, i+2+int(s[i+1]); end <= len(s) {
			return uint64(s[i]), s[start:end], end, true
		}
	}
	field, i, ok = takeUvarint(s, i)
	if !ok {
		return 0, "", 0, false
	}
	switch field & 7 {
	case 0:
		start := i
		_, i, ok = takeUvarint(s, i)
		if !ok {
			return 0, "", 0, false
		}
		return field, s[start:i], i, true
	case 2:
		var n uint64
		n, i, ok = takeUvarint(s, i)
		if !ok || n > uint64(len(s)-i) {
			return 0, "", 0, false
		}
		return field, s[i : i+int(n)], i + int(n), true
	}
	return 0, "", 0, false
}

func takeUvarint(s string, i int) (v uint64, next int, ok bool) {
	for shift := uint(0); i < len(s) && shift < 64; shift += 7 {
		c := s[i]
		i++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, i, true
		}
	}
	return 0, i, false
}

// decodeProto reads one event; b is the same bytes as s.
func decodeProto(s string, b []byte) (Event, error) {
	var e Event
	if len(s) > MaxEventBytes {
		return e, invalid("the event has %d bytes, at most %d are allowed", len(s), MaxEventBytes)
	}
	for i := 0; i < len(s); {
		field, value, next, ok := takeField(s, i)
		if !ok {
			return e, invalid("not a CloudEvent in protobuf")
		}
		i = next
		switch field {
		case fieldID:
			e.ID = value
		case fieldSource:
			e.Source = value
		case fieldType:
			e.Type = value
		case fieldText:
			e.Data = b[i-len(value) : i : i]
		case fieldAttributes:
			if err := e.setAttribute(value); err != nil {
				return e, err
			}
		}
	}
	if !utf8.ValidString(e.ID) || !utf8.ValidString(e.Source) || !utf8.ValidString(e.Type) || !utf8.ValidString(e.Subject) {
		return e, invalid("not valid UTF-8")
	}
	if e.Data != nil && !validObject(e.Data) {
		return e, invalid("`data` is not a JSON object")
	}
	return e, nil
}

func (e *Event) setAttribute(entry string) error {
	var key, holder string
	for i := 0; i < len(entry); {
		field, value, next, ok := takeField(entry, i)
		if !ok {
			return invalid("a broken attribute")
		}
		i = next
		switch field {
		case fieldMapKey:
			key = value
		case fieldMapValue:
			holder = value
		}
	}
	if key != "subject" && key != "time" {
		return nil
	}
	field, value, _, ok := takeField(holder, 0)
	switch {
	case key == "subject" && ok && field == fieldCeString:
		e.Subject = value
	case key == "time" && ok && field == fieldCeTime:
		return e.setTimestamp(value)
	default:
		return invalid("`%s` has the wrong type", key)
	}
	return nil
}

func (e *Event) setTimestamp(s string) error {
	var sec, nano uint64
	for i := 0; i < len(s); {
		field, value, next, ok := takeField(s, i)
		if !ok {
			return invalid("`time` is broken")
		}
		i = next
		switch field {
		case fieldSeconds:
			sec, _, _ = takeUvarint(value, 0)
		case fieldNanos:
			nano, _, _ = takeUvarint(value, 0)
		}
	}
	if int64(sec) > 253402300799 || int64(sec) < -62135596800 || nano >= nanosPerUnit {
		return invalid("`time` lies outside the years 1 to 9999")
	}
	e.Time = time.Unix(int64(sec), int64(nano)).UTC()
	return nil
}
