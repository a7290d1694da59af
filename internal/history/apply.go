package history

import (
	"encoding/json"
	"errors"

	"github.com/tidegate-io/tidegate/events"
)

// Event returns the event that a record is mapped to, and the bytes that tell
// records without an id apart: they don't depend on the mapping.
func (m *Mapping) Event(r *Record) (e events.Event, raw []byte, err error) {
	if r.raw != nil && m.plain() {
		e, err = events.Decode(r.raw)
		return e, r.raw, err
	}
	body, err := m.object(r)
	if err != nil {
		return e, nil, err
	}
	raw = body
	switch {
	case r.raw != nil:
		raw = r.raw
	case r.csv && !m.plain():
		if raw, err = Unmapped().object(r); err != nil {
			return e, nil, err
		}
	}
	e, err = events.Decode(body)
	return e, raw, err
}

// object returns what a record is mapped to, as JSON.
func (m *Mapping) object(r *Record) ([]byte, error) {
	if err := r.parse(); err != nil {
		return nil, err
	}
	out, err := m.named(r.fields)
	if err != nil {
		return nil, err
	}
	if r.id != "" && m.from["id"] == "" {
		out["id"] = r.id
	}
	if m.Names.data {
		if err := m.setData(out, r.fields, r.csv); err != nil {
			return nil, err
		}
	}
	return json.Marshal(out)
}

// Unmapped returns the mapping of a source of events that uses Tidegate's names.
func Unmapped() *Mapping { return &Mapping{Names: EventNames} }

// Customer returns the customer that a record is mapped to, as the API takes it.
// The plan of an app's own document counts only if it is mapped: it would hold
// whatever Stripe says.
func (m *Mapping) Customer(r *Record) ([]byte, error) {
	if r.raw != nil && m.plain() {
		if !json.Valid(r.raw) {
			return nil, errors.New("not JSON")
		}
		return r.raw, nil
	}
	if r.id != "" {
		for _, name := range []string{"plan", "overrides"} {
			if m.from[name] == "" {
				delete(r.fields, name)
			}
		}
	}
	return m.object(r)
}
