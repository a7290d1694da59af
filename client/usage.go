package client

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate/events"
)

// Usage is one use of a metered feature.
type Usage struct {
	Customer string // the app's id of the customer; required
	Event    string // what was used: the event that a gate meters; required
	// ID makes the use one of its own: with the same Customer, Source and ID it
	// is counted once, however often it is recorded. Without one each call of
	// Record is a use of its own, counted once whatever happens on its way.
	ID     string
	Source string // who reports; default: the client's Source
	// Time is when it was used; default: when it is stored, or, while the
	// servers cannot be reached, when it was recorded.
	Time time.Time
	// Value is how much was used: an integer or float of any size, json.Number
	// or events.Value; for a meter of unique values also a string. It becomes
	// the member "value" of the event's data, and the member that the gate's
	// meter reads if its path is a single name (`value: $.tokens`). It is
	// rounded to nine decimal places, half to even.
	Value any
	// Properties become members of the event's data; values are marshalled as
	// JSON.
	Properties map[string]any
}

// literal is Value as JSON; "" when there is none.
func (u *Usage) literal() (string, error) {
	switch v := u.Value.(type) {
	case nil:
		return "", nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case int8, int16, int32, uint8, uint16, uint32:
		return fmt.Sprint(v), nil
	case uint:
		return unsigned(uint64(v))
	case uint64:
		return unsigned(v)
	case float64:
		return decimal(v)
	case float32:
		return rounded(strconv.FormatFloat(float64(v), 'f', -1, 32))
	case events.Value:
		return v.String(), nil
	case json.Number:
		return rounded(string(v))
	case string:
		if !utf8.ValidString(v) {
			return "", fmt.Errorf("%w: the value is not valid UTF-8", events.ErrInvalid)
		}
		b, err := json.Marshal(v)
		return string(b), err
	}
	return "", fmt.Errorf("%w: a value of type %T is not a number", events.ErrInvalid, u.Value)
}

func unsigned(v uint64) (string, error) {
	if v > math.MaxInt64 {
		return "", fmt.Errorf("%w: the value %d is too large", events.ErrInvalid, v)
	}
	return strconv.FormatUint(v, 10), nil
}

func decimal(v float64) (string, error) {
	return rounded(strconv.FormatFloat(v, 'e', -1, 64)) // NaN and infinities are refused there
}

func rounded(s string) (string, error) {
	v, err := events.RoundValue(s)
	if err != nil {
		return "", fmt.Errorf("%w: the value %s is %w", events.ErrInvalid, s, err)
	}
	return v.String(), nil
}

// event is the event that u describes, and its value as JSON. The event's data
// holds the properties only: see filled.
func (c *Client) event(u *Usage) (e events.Event, literal string, err error) {
	e = events.Event{ID: u.ID, Source: u.Source, Type: u.Event, Subject: u.Customer, Time: u.Time}
	if e.Source == "" {
		e.Source = c.source
	}
	if err := e.Validate(); err != nil {
		return e, "", err
	}
	if !e.Time.IsZero() {
		if err := events.CheckTime(e.Time, c.now(), 0); err != nil {
			return e, "", err
		}
	}
	if literal, err = u.literal(); err != nil {
		return e, "", err
	}
	if len(u.Properties) > 0 {
		if e.Data, err = json.Marshal(u.Properties); err != nil {
			return e, "", fmt.Errorf("%w: properties: %w", events.ErrInvalid, err)
		}
	}
	if n := eventSize(&e) + maxValues*len(literal); n > events.MaxEventBytes {
		return e, "", fmt.Errorf("%w: the event has about %d bytes, at most %d are allowed", events.ErrInvalid, n, events.MaxEventBytes)
	}
	if e.ID == "" {
		e.ID = c.ids.next()
	}
	return e, literal, nil
}

// eventSize is about the size of an event on the wire, and not less.
func eventSize(e *events.Event) int {
	return 128 + len(e.ID) + len(e.Source) + len(e.Type) + len(e.Subject) + len(e.Data)
}

// maxValues is under how many names a value is put into the data.
const maxValues = 8

// filled is the event's data with its value, under "value" and under the names
// that the gates read. A property of the same name stays.
func filled(data []byte, literal string, gates []*gateInfo) []byte {
	if literal == "" {
		return data
	}
	data = withMember(data, "value", literal)
	for i, g := range gates {
		if i < maxValues-1 && g.ValueKey != "" && g.ValueKey != "value" && !strings.Contains(g.ValueKey, ".") {
			data = withMember(data, g.ValueKey, literal)
		}
	}
	return data
}

func withMember(data []byte, name, literal string) []byte {
	if data == nil {
		data = make([]byte, 0, 2*(len(name)+len(literal))+16)
		data = append(data, '{')
	} else {
		if _, there := events.Lookup(data, name); there {
			return data
		}
		if data = bytes.TrimSuffix(data, []byte{'}'}); len(data) > 1 {
			data = append(data, ',')
		}
	}
	if quoted := strconv.AppendQuote(nil, name); json.Valid(quoted) {
		data = append(data, quoted...)
	} else {
		quoted, _ = json.Marshal(name) // a string always can be
		data = append(data, quoted...)
	}
	data = append(append(data, ':'), literal...)
	return append(data, '}')
}

// amount is how much an event adds to a gate's total; ok is false when this
// process can't tell.
func (g *gateInfo) amount(e *events.Event) (w events.Value, ok bool) {
	if !g.sum {
		return events.Count(1), true
	}
	raw, ok := events.Lookup(e.Data, g.ValueKey)
	if !ok {
		return w, false
	}
	w, err := events.RoundValue(string(raw))
	return w, err == nil
}

// idMaker makes ids that no other client makes.
type idMaker struct {
	prefix string
	n      *atomic.Uint64
}

func newIDMaker() idMaker { return idMaker{prefix: rand.Text()[:20] + "-", n: new(atomic.Uint64)} }

func (m idMaker) next() string {
	var b [48]byte
	return string(strconv.AppendUint(append(b[:0], m.prefix...), m.n.Add(1), 32))
}
