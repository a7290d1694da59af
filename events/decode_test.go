package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Event
	}{
		{"all", `{"specversion":"1.0","id":"1","source":"s","type":"api","subject":"acme","time":"2026-07-01T12:00:00.5+02:00","data":{"n":1}}`,
			Event{ID: "1", Source: "s", Type: "api", Subject: "acme", Time: time.Date(2026, 7, 1, 10, 0, 0, 5e8, time.UTC), Data: []byte(`{"n":1}`)}},
		{"empty", `{}`, Event{}},
		{"space", " \t\r\n{ \"id\" : \"1\" , \"data\" : { } }\n", Event{ID: "1", Data: []byte(`{ }`)}},
		{"nulls", `{"id":null,"source":null,"type":null,"subject":null,"time":null,"data":null}`, Event{}},
		{"unknown attributes", `{"x":[1,{"id":"no"},"]"],"traceparent":"00","id":"1","y":{"data":{}},"z":-1.5e-3,"w":true}`, Event{ID: "1"}},
		{"escapes", `{"subject":"a\"b\\c\/\n\u00e9\ud83c\udf89","id":"\u0031"}`, Event{Subject: "a\"b\\c/\né🎉", ID: "1"}},
		{"escaped key", `{"\u0069d":"1","t\u0079pe":"api"}`, Event{ID: "1", Type: "api"}},
		{"escaped time", `{"time":"2026-07-01T12:00:00\u005a"}`, Event{Time: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}},
		{"a replacement character", `{"id":"\ufffd\\ud800","source":"\\uD83D"}`, Event{ID: `�\ud800`, Source: `\uD83D`}},
		{"keys are case sensitive", `{"ID":"1","Type":"api"}`, Event{}},
		{"braces in strings", `{"data":{"a":"}","b":"{\"","c":[{}]},"id":"1"}`, Event{ID: "1", Data: []byte(`{"a":"}","b":"{\"","c":[{}]}`)}},
		{"unicode", `{"subject":"客户"}`, Event{Subject: "客户"}},
	} {
		got, err := Decode([]byte(c.in))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	deep := strings.Repeat("[", 10_000)
	for _, c := range []struct{ in, reason string }{
		{``, "not JSON: unexpected end"},
		{` `, "not JSON: unexpected end"},
		{`{`, "not JSON"},
		{`{"id":"1"`, "not JSON"},
		{`{"id":"1",}`, "not JSON"},
		{`{,}`, "not JSON"},
		{`{"id" "1"}`, "not JSON"},
		{`{"id":}`, "not JSON"},
		{`{id:"1"}`, "not JSON"},
		{`{"id":'1'}`, "not JSON"},
		{`{"id":"1"}{}`, "not JSON"},
		{`{"id":"1"} x`, "not JSON"},
		{"{\"id\":\"a\nb\"}", "not JSON"},
		{`{"id":"\x41"}`, "not JSON"},
		{`{"id":"\u12g4"}`, "not JSON"},
		{`{"a":01}`, "not JSON"},
		{`{"a":1.}`, "not JSON"},
		{`{"a":+1}`, "not JSON"},
		{`{"a":.5}`, "not JSON"},
		{`{"a":1e}`, "not JSON"},
		{`{"a":nul}`, "not JSON"},
		{`{"a":NaN}`, "not JSON"},
		{`{"a":[1,]}`, "not JSON"},
		{`{"a":[1 2]}`, "not JSON"},
		{"\ufeff{}", "not JSON"},
		{"\u00a0{}", "not JSON"},
		{`{"type":1,`, "not JSON"}, // has precedence over the field's mistake
		{`{"a":` + deep + strings.Repeat("]", 10_000) + `}`, "exceeded max depth"},
		{"{\"id\":\"\xff\"}", "UTF-8"},
		{"{\"\xc3\":1}", "UTF-8"},
		{`[]`, "not a JSON object but an array"},
		{`"a"`, "not a JSON object but a string"},
		{`1`, "not a JSON object but a number"},
		{`true`, "not a JSON object but a boolean"},
		{`null`, "not a JSON object but null"},
		{`{"id":"\ud800"}`, "`id` has half of a surrogate pair"},
		{`{"subject":"a\uDC00"}`, "`subject` has half of a surrogate pair"},
		{`{"type":"\ud800\ud800"}`, "`type` has half of a surrogate pair"},
		{`{"source":"\ud83d\\udc00"}`, "`source` has half of a surrogate pair"},
		{`{"source":"\ud83d\udc00\udc00"}`, "`source` has half of a surrogate pair"},
		{`{"id":1}`, "`id` must be a string, not a number"},
		{`{"source":[]}`, "`source` must be a string, not an array"},
		{`{"type":{}}`, "`type` must be a string, not an object"},
		{`{"subject":false}`, "`subject` must be a string, not a boolean"},
		{`{"time":1782907200}`, "`time` must be a string, not a number"},
		{`{"time":"yesterday"}`, "`time` \"yesterday\" is not RFC 3339"},
		{`{"time":"2026-07-01"}`, "`time`"},
		{`{"time":"2026-07-01T12:00:00"}`, "`time`"},
		{`{"time":"2026-02-30T12:00:00Z"}`, "`time`"},
		{`{"time":"2026-07-01 12:00:00Z"}`, "`time`"},
		{`{"time":"2026-07-01T12:00:00+25:00"}`, "`time`"},
		{`{"data":[1]}`, "`data` must be an object, not an array"},
		{`{"data":"{}"}`, "`data` must be an object, not a string"},
		{`{"data_base64":"e30="}`, "`data_base64` is not supported"},
		{`{"id":"1","id":"1"}`, "`id` stands twice"},
		{`{"type":"a","\u0074ype":"b"}`, "`type` stands twice"},
		{`{"subject":null,"subject":"b"}`, "`subject` stands twice"},
		{`{"data":{},"data":null}`, "`data` stands twice"},
		{`{"time":null,"time":null}`, "`time` stands twice"},
		{`{"source":"a","source":"b"}`, "`source` stands twice"},
		{`{"data":{"s":"` + strings.Repeat("x", MaxEventBytes) + `"}}`, "at most 65536"},
	} {
		_, err := Decode([]byte(c.in))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%.80s: %v, want %q", c.in, err, c.reason)
		}
	}
	if _, err := Decode([]byte(`{"a":` + deep[1:] + strings.Repeat("]", 9_999) + `}`)); err != nil {
		t.Errorf("9,999 arrays in an object: %v", err)
	}
}

func TestOnlyControlEventsMayBeLarge(t *testing.T) {
	b := []byte(`{"type":"tidegate.config","data":{"s":"` + strings.Repeat("x", MaxEventBytes) + `"}}`)
	if e, err := DecodeControl(b); err != nil || len(e.Data) <= MaxEventBytes {
		t.Fatalf("%d bytes of data, %v", len(e.Data), err)
	}
}

// document draws JSON text with all kinds of elements, spaces and escapes.
func document() *rapid.Generator[string] {
	key := rapid.OneOf(rapid.SampledFrom([]string{`"id"`, `"source"`, `"type"`, `"subject"`, `"time"`, `"data"`, `"n"`, `"\u0069d"`}),
		rapid.Map(rapid.String(), func(s string) string { b, _ := json.Marshal(s); return string(b) }))
	scalar := rapid.OneOf(key, rapid.SampledFrom([]string{"null", "true", "false", "0", "-0", "1.5e-7", "1E9", `"2026-07-01T12:00:00Z"`, `""`, `"\ud800\n"`}))
	space := rapid.SampledFrom([]string{"", "", " ", "\t\r\n "})
	var value func(depth int) *rapid.Generator[string]
	value = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			kind := rapid.IntRange(0, 3).Draw(t, "kind")
			if depth == 0 || kind < 2 {
				return scalar.Draw(t, "scalar")
			}
			var parts []string
			for range rapid.IntRange(0, 3).Draw(t, "n") {
				v := space.Draw(t, "s") + value(depth-1).Draw(t, "v") + space.Draw(t, "s")
				if kind == 2 {
					v = space.Draw(t, "s") + key.Draw(t, "k") + space.Draw(t, "s") + ":" + v
				}
				parts = append(parts, v)
			}
			return map[int]string{2: "{", 3: "["}[kind] + strings.Join(parts, ",") + space.Draw(t, "s") + map[int]string{2: "}", 3: "]"}[kind]
		})
	}
	return value(4)
}

// TestDecodeEqualsEncodingJSON compares both on valid documents, and on documents with
// one changed byte.
func TestDecodeEqualsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(document().Draw(t, "document"))
		if rapid.Bool().Draw(t, "break") && len(b) > 0 {
			i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
			b[i] = rapid.SampledFrom([]byte("{}[]\",:\\0x \x1f-.eu")).Draw(t, "byte")
		}
		sameAsJSON(t, b)
	})
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

func sameAsJSON(t fataler, b []byte) {
	t.Helper()
	e, err := Decode(b)
	syntax := err != nil && strings.Contains(err.Error(), "not JSON:")
	if utf8OK := bytes.Equal(bytes.ToValidUTF8(b, nil), b); utf8OK && len(b) <= MaxEventBytes && syntax == json.Valid(b) {
		t.Fatalf("%q: valid JSON: %t, Decode: %v", b, json.Valid(b), err)
	}
	if err != nil {
		if !errors.Is(err, ErrInvalid) {
			t.Fatalf("%q: %v is not ErrInvalid", b, err)
		}
		return
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	for name, got := range map[string]string{"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject} {
		var want string
		if raw, ok := m[name]; ok {
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatalf("%q: %s: %v", b, name, err)
			}
		}
		if got != want {
			t.Fatalf("%q: %s = %q, want %q", b, name, got, want)
		}
	}
	if raw := m["data"]; string(raw) != string(e.Data) && string(raw) != "null" {
		t.Fatalf("%q: data = %s, want %s", b, e.Data, raw)
	}
	var at time.Time
	if raw, ok := m["time"]; ok && string(raw) != `""` {
		if err := json.Unmarshal(raw, &at); err != nil || !at.Equal(e.Time) {
			t.Fatalf("%q: time = %v, want %v, %v", b, e.Time, at, err)
		}
	}
	for name := range m { // members of the object, by name
		if got, ok := Lookup(bytes.TrimSpace(b), name); !strings.Contains(name, ".") && (!ok || string(got) != string(m[name])) {
			t.Fatalf("%q: Lookup(%q) = %s, %t; want %s", b, name, got, ok, m[name])
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{string(event200), `{}`, `{"id":null,"data":{"a":[{"b":"\u00e9"}]}}`, `{"\u0069d":"1","id":"1"}`, `[1]`, `{"a":-0.5e+7,"b":[[]]}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { sameAsJSON(t, b) })
}

func TestLookup(t *testing.T) {
	data := []byte(`{"n":1,"usage":{"total":{"tokens":812},"list":[1]},"s":"x","dup":1,"dup":2,"\u006b":3,"nul":null,"":{"":7}}`)
	for path, want := range map[string]string{"n": "1", "usage.total.tokens": "812", "usage.list": "[1]", "s": `"x"`, "dup": "2", "k": "3", "nul": "null", ".": "7"} {
		if got, ok := Lookup(data, path); !ok || string(got) != want {
			t.Errorf("Lookup(%q) = %s, %t; want %s", path, got, ok, want)
		}
	}
	for _, path := range []string{"m", "n.x", "usage.list.0", "usage.total.tokens.x", "usage.", ".x", "N"} {
		if got, ok := Lookup(data, path); ok {
			t.Errorf("Lookup(%q) = %s", path, got)
		}
	}
	if _, ok := Lookup(nil, "n"); ok {
		t.Error("found something in nothing")
	}
}

func anEvent() *rapid.Generator[Event] {
	text := rapid.StringN(0, 20, 100)
	return rapid.Custom(func(t *rapid.T) Event {
		e := Event{ID: text.Draw(t, "id"), Source: text.Draw(t, "source"), Type: text.Draw(t, "type"), Subject: text.Draw(t, "subject")}
		if rapid.Bool().Draw(t, "timed") {
			e.Time = time.Unix(rapid.Int64Range(-62135596799, 253402300799).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		}
		if rapid.Bool().Draw(t, "with data") {
			e.Data, _ = json.Marshal(map[string]any{"n": rapid.Int64().Draw(t, "n"), text.Draw(t, "k"): text.Draw(t, "v")})
		}
		return e
	})
}

func TestDecodeReadsAppendJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anEvent().Draw(t, "e")
		b := e.AppendJSON(nil)
		if !json.Valid(b) {
			t.Fatalf("%s is not JSON", b)
		}
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%s: %+v, %v; want %+v", b, got, err, e)
		}
	})
}

func TestDecodeCopiesOnce(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = Decode(event200) }); n > 1 {
		t.Errorf("%v allocations an event, want 1", n)
	}
}
