package events

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// Decode reads one CloudEvents JSON object. Unknown attributes are ignored, as
// CloudEvents demands; the error names the field that is wrong. The event's
// Data is a part of b. Decode does not call Validate.
func Decode(b []byte) (Event, error) {
	if len(b) > MaxEventBytes {
		return Event{}, invalid("the event has %d bytes, at most %d are allowed", len(b), MaxEventBytes)
	}
	return DecodeControl(b)
}

// DecodeControl is Decode without its bound: a control event may carry a whole
// configuration.
func DecodeControl(b []byte) (Event, error) {
	if !utf8.Valid(b) {
		return Event{}, invalid("not valid UTF-8")
	}
	// Valid is strict and fast; behind it the walk below may trust the syntax.
	if !json.Valid(b) {
		return Event{}, invalid("not JSON: %v", json.Unmarshal(b, new(any)))
	}
	b = bytes.TrimSpace(b)
	if b[0] != '{' {
		return Event{}, invalid("not a JSON object but %s", kindOf(b[0]))
	}
	var e Event
	var seen fieldSet
	w := walker{b: b, i: 1}
	for w.next() {
		key, value := w.pair()
		if err := e.set(key, value, &seen); err != nil {
			return Event{}, err
		}
	}
	return e, nil
}

type fieldSet struct{ id, source, typ, subject, time, data bool }

func (e *Event) set(key, value []byte, seen *fieldSet) error {
	name, dup, err := string(key), false, error(nil)
	switch name {
	case "id":
		dup, seen.id = seen.id, true
		e.ID, err = stringField(name, value)
	case "source":
		dup, seen.source = seen.source, true
		e.Source, err = stringField(name, value)
	case "type":
		dup, seen.typ = seen.typ, true
		e.Type, err = stringField(name, value)
	case "subject":
		dup, seen.subject = seen.subject, true
		e.Subject, err = stringField(name, value)
	case "time":
		dup, seen.time = seen.time, true
		e.Time, err = timeField(value)
	case "data":
		dup, seen.data = seen.data, true
		if value[0] == '{' {
			e.Data = value
		} else if value[0] != 'n' {
			err = invalid("`data` must be an object, not %s", kindOf(value[0]))
		}
	case "data_base64":
		err = invalid("`data_base64` is not supported: send `data` as an object")
	}
	if dup {
		return invalid("`%s` stands twice", name)
	}
	return err
}

func stringField(name string, value []byte) (string, error) {
	switch value[0] {
	case 'n':
		return "", nil
	case '"':
		return unquote(value), nil
	}
	return "", invalid("`%s` must be a string, not %s", name, kindOf(value[0]))
}

func timeField(value []byte) (time.Time, error) {
	s, err := stringField("time", value)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, invalid("`time` %q is not RFC 3339, such as 2026-01-31T12:00:00Z", clip(s))
	}
	return t.UTC(), nil
}

func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // was validated
	return s
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

// walker walks the members of a JSON object that is known to be valid.
type walker struct {
	b []byte
	i int
}

func (w *walker) space() {
	for w.b[w.i] == ' ' || w.b[w.i] == '\t' || w.b[w.i] == '\n' || w.b[w.i] == '\r' {
		w.i++
	}
}

func (w *walker) next() bool {
	w.space()
	if w.b[w.i] == ',' {
		w.i++
		w.space()
	}
	return w.b[w.i] != '}'
}

func (w *walker) pair() (key, value []byte) {
	start := w.i
	w.str()
	key = w.b[start+1 : w.i-1]
	if bytes.IndexByte(key, '\\') >= 0 {
		key = []byte(unquote(w.b[start:w.i]))
	}
	w.space()
	w.i++ // the colon
	w.space()
	start = w.i
	w.value()
	return key, w.b[start:w.i]
}

func (w *walker) str() {
	for w.i++; w.b[w.i] != '"'; w.i++ {
		if w.b[w.i] == '\\' {
			w.i++
		}
	}
	w.i++
}

func (w *walker) value() {
	switch w.b[w.i] {
	case '"':
		w.str()
		return
	case '{', '[':
		for depth := 0; ; {
			switch w.b[w.i] {
			case '"':
				w.str()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					w.i++
					return
				}
			}
			w.i++
		}
	}
	for ; ; w.i++ {
		switch w.b[w.i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return
		}
	}
}

// Lookup finds the raw JSON of a member of Data by its dot-separated path
// ("tokens", "usage.total"); ok is false when there is none. data must be a
// valid JSON object.
func Lookup(data []byte, path string) (value []byte, ok bool) {
	for path != "" {
		var name string
		if i := bytes.IndexByte([]byte(path), '.'); i >= 0 {
			name, path = path[:i], path[i+1:]
		} else {
			name, path = path, ""
		}
		if len(data) == 0 || data[0] != '{' {
			return nil, false
		}
		w, found := walker{b: data, i: 1}, []byte(nil)
		for w.next() {
			if k, v := w.pair(); string(k) == name {
				found = v
			}
		}
		if found == nil {
			return nil, false
		}
		data = found
	}
	return data, true
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

func validObject(b []byte) bool {
	return len(b) > 0 && b[0] == '{' && utf8.Valid(b) && json.Valid(b)
}
