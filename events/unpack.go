package events

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Batch iterates over the events of a packed message. Events share the message's
// memory, so the message must not change while they are in use: clone what has to live
// longer.
type Batch struct {
	b    []byte
	text string // the same bytes
	at   int
	read int // events
	err  error
}

// NewBatch returns a Batch before the first event of a packed message.
func NewBatch(b []byte) Batch { return Batch{b: b, text: textOf(b)} }

// CheckBatch returns an ErrInvalid for a packed message of more than MaxBatchBytes or
// MaxBatchEvents. It reads none of the events.
func CheckBatch(b []byte) error {
	if len(b) > MaxBatchBytes {
		return invalid("the packed message has %d bytes, at most %d are allowed", len(b), MaxBatchBytes)
	}
	if len(b) <= 2*MaxBatchEvents { // an event has two bytes at least
		return nil
	}
	text := textOf(b)
	for n, at := 0, 0; at < len(text); n++ {
		_, _, next, ok := takeField(text, at)
		if n == MaxBatchEvents {
			return invalid("the packed message has more than %d events", MaxBatchEvents)
		}
		if !ok {
			return nil // Batch says where it is broken
		}
		at = next
	}
	return nil
}

// textOf returns b as a string without a copy, which would take as long as reading.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Next reads the next event into e and returns its bytes. An error only concerns this
// event; the next call reads the next one. more is false at the end of the message and
// where it is broken.
func (b *Batch) Next(e *Event) (raw []byte, more bool, err error) {
	if b.at == len(b.text) || b.err != nil {
		return nil, false, nil
	}
	field, text, next, ok := takeField(b.text, b.at)
	if ok && field == fieldFormat && b.at == 0 {
		format, _, _ := takeUvarint(text, 0)
		if b.err = CheckFormat("the packed message", format, newestFormat); b.err == nil {
			b.at = next
			return b.Next(e)
		}
		return nil, false, nil
	}
	if !ok || field != fieldEvents {
		b.err = fmt.Errorf("%w: the packed message is broken after event %d", ErrInvalid, b.read)
		return nil, false, nil
	}
	raw = b.b[next-len(text) : next : next]
	b.at = next
	b.read++
	*e = Event{}
	if !e.usual(text, raw) {
		*e, err = decodeProto(text, raw)
	}
	return raw, true, err
}

// Err returns an ErrInvalid when Next has stopped because the message is broken, and an
// ErrFormat when a newer version packed it.
func (b *Batch) Err() error { return b.err }

// EachInBatch calls f with every event of a packed message, in order. err says why this
// event can't be read; the others still can. When the message itself is broken,
// EachInBatch returns an error after the events before the break. Events share b's
// memory: see Batch.
func EachInBatch(b []byte, f func(index int, e Event, raw []byte, err error)) error {
	batch := NewBatch(b)
	for i := 0; ; i++ {
		var e Event
		raw, more, err := batch.Next(&e)
		if !more {
			return batch.Err()
		}
		f(i, e, raw, err)
	}
}

// The bytes before the values of attributes in the usual form.
const (
	usualSpec    = "\x1a\x031.0"
	usualSubject = "\x0a\x07subject"
	usualTime    = "\x0a\x04time"
)

// usual reads an event with short fields in the order of AppendBatch, in a third of the
// time of decodeProto, which accepts any order. It reports whether the event has that
// form and is valid.
func (e *Event) usual(s string, b []byte) bool {
	whole := s
	var ok bool
	if e.ID, s, ok = short(s, fieldID); !ok {
		return false
	}
	if e.Source, s, ok = short(s, fieldSource); !ok {
		return false
	}
	if s, ok = strings.CutPrefix(s, usualSpec); !ok {
		return false
	}
	if e.Type, s, ok = short(s, fieldType); !ok {
		return false
	}
	entry, s, ok := short(s, fieldAttributes)
	if !ok {
		return false
	}
	if e.Subject, ok = usualAttribute(entry, usualSubject, fieldCeString); !ok {
		return false
	}
	// The bytes between the texts are ASCII, so no character spans two texts.
	if !utf8.ValidString(whole[:len(whole)-len(s)]) {
		return false
	}
	if len(s) > 0 && s[0] == fieldAttributes {
		if entry, s, ok = short(s, fieldAttributes); !ok {
			return false
		}
		stamp, ok := usualAttribute(entry, usualTime, fieldCeTime)
		if !ok || e.setTimestamp(stamp) != nil {
			return false
		}
	}
	if len(s) == 0 {
		return true
	}
	field, data, n, ok := takeField(s, 0)
	if !ok || field != fieldText || n != len(s) || len(b) > MaxEventBytes {
		return false
	}
	e.Data = b[len(b)-len(data) : len(b) : len(b)]
	return validObject(e.Data)
}

// short cuts a field of less than 128 bytes from the beginning of s.
func short(s string, field byte) (value, rest string, ok bool) {
	if len(s) < 2 || s[0] != field || s[1] >= 0x80 || int(s[1]) > len(s)-2 {
		return "", s, false
	}
	n := 2 + int(s[1])
	return s[2:n], s[n:], true
}

// usualAttribute returns the value of a map entry with the given key.
func usualAttribute(entry, key string, kind byte) (value string, ok bool) {
	holder, ok := strings.CutPrefix(entry, key)
	if !ok {
		return "", false
	}
	holder, rest, ok := short(holder, fieldMapValue)
	if !ok || rest != "" {
		return "", false
	}
	value, rest, ok = short(holder, kind)
	return value, ok && rest == ""
}

// takeField reads one length-delimited or varint field at i.
func takeField(s string, i int) (field uint64, value string, next int, ok bool) {
	if i+1 < len(s) && s[i] < 0x80 && s[i]&7 == 2 && s[i+1] < 0x80 { // nearly all fields are short
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
	return present(e.Time)
}
