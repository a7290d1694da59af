package events

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Decode reads one CloudEvents JSON object. It ignores unknown attributes, as
// CloudEvents requires. It returns an ErrInvalid that names the wrong field. The event
// shares b's memory, so b must not change while the event is in use: clone what has to
// live longer. Decode does not call Validate.
func Decode(b []byte) (Event, error) {
	if len(b) > MaxEventBytes {
		return Event{}, invalid("the event has %d bytes, at most %d are allowed", len(b), MaxEventBytes)
	}
	return DecodeControl(b)
}

// DecodeControl is Decode without the maximum size: a control event may contain a whole
// configuration.
func DecodeControl(b []byte) (Event, error) {
	if !utf8.Valid(b) {
		return Event{}, invalid("not valid UTF-8")
	}
	j := scanner{b: b}
	j.space()
	if !j.eat('{') {
		return Event{}, notObject(b)
	}
	d := decoder{b: b, text: textOf(b)}
	var wrong error // of a field; an error of the JSON has precedence
	var m member
	more, ok := j.next(&m, true, 1)
	for ; more; more, ok = j.next(&m, false, 1) {
		if err := d.set(&m); err != nil && wrong == nil {
			wrong = err
		}
	}
	if !ok || !j.end() {
		return Event{}, notObject(b)
	}
	if wrong != nil {
		return Event{}, wrong
	}
	return d.e, nil
}

// notObject returns the error that says why b is no JSON object.
func notObject(b []byte) error {
	if err := json.Unmarshal(b, new(any)); err != nil {
		return invalid("not JSON: %v", err)
	}
	return invalid("not a JSON object but %s", kindOf(bytes.TrimSpace(b)[0]))
}

// decoder fills in an event.
type decoder struct {
	b    []byte
	text string // the same bytes
	e    Event
	seen struct{ id, source, typ, subject, time, data bool }
}

func (d *decoder) set(m *member) (err error) {
	name := d.text[m.name:m.nameEnd]
	if m.escaped {
		name = unquote(d.b[m.name-1 : m.nameEnd+1])
	}
	var seen *bool
	switch name {
	case "id":
		seen = &d.seen.id
		d.e.ID, err = d.str(name, m)
	case "source":
		seen = &d.seen.source
		d.e.Source, err = d.str(name, m)
	case "type":
		seen = &d.seen.typ
		d.e.Type, err = d.str(name, m)
	case "subject":
		seen = &d.seen.subject
		d.e.Subject, err = d.str(name, m)
	case "time":
		seen = &d.seen.time
		d.e.Time, err = d.time(m)
	case "data":
		seen = &d.seen.data
		d.e.Data, err = d.object(m)
	case "data_base64":
		return invalid("`data_base64` is not supported: send `data` as an object")
	default:
		return nil
	}
	if *seen {
		return invalid("`%s` stands twice", name)
	}
	*seen = true
	return err
}

func (d *decoder) str(name string, m *member) (string, error) {
	switch d.b[m.value] {
	case 'n':
		return "", nil
	case '"':
		quoted := d.text[m.value:m.valueEnd]
		if strings.IndexByte(quoted, '\\') < 0 {
			return quoted[1 : len(quoted)-1], nil
		}
		if LoneSurrogate(quoted) {
			return "", invalid("`%s` has half of a surrogate pair: it is no text", name)
		}
		return unquote(d.b[m.value:m.valueEnd]), nil
	}
	return "", invalid("`%s` must be a string, not %s", name, kindOf(d.b[m.value]))
}

func (d *decoder) time(m *member) (time.Time, error) {
	s, err := d.str("time", m)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, invalid("`time` %q is not RFC 3339, such as 2026-01-31T12:00:00Z", clip(s))
	}
	return t.UTC(), present(t)
}

func (d *decoder) object(m *member) ([]byte, error) {
	switch c := d.b[m.value]; c {
	case 'n':
		return nil, nil
	case '{':
		return d.b[m.value:m.valueEnd:m.valueEnd], nil
	default:
		return nil, invalid("`data` must be an object, not %s", kindOf(c))
	}
}

func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// Lookup returns the raw JSON of a member of an event's data by its dot-separated path
// ("tokens", "usage.total"). ok reports whether there is one. data must be a valid JSON
// object. Of members with the same name the last one counts.
func Lookup(data []byte, path string) (value []byte, ok bool) {
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		if data, ok = find(data, name); !ok {
			return nil, false
		}
	}
	return data, true
}

func find(object []byte, name string) (value []byte, found bool) {
	j := scanner{b: object}
	if !j.eat('{') {
		return nil, false
	}
	var m member
	more, _ := j.next(&m, true, 1)
	for ; more; more, _ = j.next(&m, false, 1) {
		same := string(object[m.name:m.nameEnd]) == name
		if m.escaped {
			same = unquote(object[m.name-1:m.nameEnd+1]) == name
		}
		if same {
			value, found = object[m.value:m.valueEnd], true
		}
	}
	return value, found
}

// AppendJSON appends e as a CloudEvents JSON object.
func (e *Event) AppendJSON(b []byte) []byte {
	b = append(b, `{"specversion":"1.0"`...)
	for _, f := range [...]struct{ name, value string }{{"id", e.ID}, {"source", e.Source}, {"type", e.Type}, {"subject", e.Subject}} {
		if f.value == "" {
			continue
		}
		quoted, _ := json.Marshal(f.value)
		b = append(append(append(append(b, ',', '"'), f.name...), '"', ':'), quoted...)
	}
	if !e.Time.IsZero() {
		b = append(b, `,"time":`...)
		b = strconv.AppendQuote(b, e.Time.UTC().Format(time.RFC3339Nano))
	}
	if e.Data != nil {
		b = append(append(b, `,"data":`...), e.Data...)
	}
	return append(b, '}')
}
