package strict

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestUnmarshal(t *testing.T) {
	type body struct {
		Email     string                    `json:"email"`
		Overrides map[string]map[string]int `json:"overrides"`
	}
	for _, c := range []struct{ in, reason string }{
		{`{"email":"a","overrides":{"API":{},"api":{"limit":1}}}`, ""},
		{` {"email":"\ud83c\udf89"} `, ""},
		{`{"email":"\\ud800 \ufffd"}`, ""},
		{`{}`, ""},
		{``, "breaks off"},
		{`{"email":`, "breaks off"},
		{`{"email":1}`, "`email` cannot be number"},
		{`{"mail":""}`, `unknown field "mail"`},
		{`{"EMAIL":"b"}`, "`EMAIL` is not known"},
		{`{"email":"a","eMail":"b"}`, "`eMail` is not known"},
		{`{"email":"a","email":"b"}`, "`email` stands twice"},
		{`{"email":"a","\u0065mail":"b"}`, "`email` stands twice"},
		{`{"overrides":{"api":{},"api":{}}}`, "`api` stands twice"},
		{`{"overrides":{"api":{"limit":1,"limit":2}}}`, "`limit` stands twice"},
		{`{"email":"\ud800"}`, "surrogate"},
		{`{"overrides":{"\udc00":{}}}`, "surrogate"},
		{"{\"email\":\"\xff\"}", "UTF-8"},
		{`{} {}`, "more than one"},
		{`{}]`, "more than one"},
		{`nope`, "not a valid JSON object"},
	} {
		var into body
		err := Unmarshal([]byte(c.in), &into)
		if (err == nil) != (c.reason == "") || err != nil && !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %q", c.in, err, c.reason)
		}
	}
}

// What Check accepts keeps all of its members when it is read and written.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[{"b":1,"b":2}]}`, `[{"a":1},{"a":2}]`, `"\ud800"`, `{"a":"\ud83c\udf89"}`, `1e999`, `{"":{"":0}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !json.Valid(b) || Check(b) != nil {
			return
		}
		var v any
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(v)
		if err != nil || members(t, again) != members(t, b) {
			t.Fatalf("%s became %s: %v", b, again, err)
		}
	})
}

// members counts the members of all objects in valid JSON.
func members(t *testing.T, valid []byte) (n int) {
	t.Helper()
	var compact bytes.Buffer
	if err := json.Compact(&compact, valid); err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, b := 0, compact.Bytes(); i < len(b); i++ {
		switch {
		case inside && b[i] == '\\':
			i++
		case b[i] == '"':
			inside = !inside
		case !inside && b[i] == ':':
			n++
		}
	}
	return n
}
