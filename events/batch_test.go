package events

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPackedFormIsCloudEventsProtobuf compares with the output of protoc for
// io.cloudevents.v1.CloudEventBatch:
//
//	events { id: "1" source: "s" spec_version: "1.0" type: "api"
//	  attributes { key: "subject" value { ce_string: "acme" } }
//	  attributes { key: "time" value { ce_timestamp { seconds: 1782907200 nanos: 500000000 } } }
//	  text_data: "{\"n\":1}" }
func TestPackedFormIsCloudEventsProtobuf(t *testing.T) {
	e := Event{ID: "1", Source: "s", Type: "api", Subject: "acme", Time: time.Unix(1782907200, 5e8).UTC(), Data: []byte(`{"n":1}`)}
	want := strings.Join([]string{
		"0a44",                  // events, 68 bytes
		"0a0131",                // 1 id
		"120173",                // 2 source
		"1a03312e30",            // 3 spec_version
		"2203617069",            // 4 type
		"2a11",                  // 5 attributes, an entry of 17 bytes
		"0a077375626a656374",    // key "subject"
		"1206" + "1a0461636d65", // value: 3 ce_string "acme"
		"2a16",                  // 5 attributes, an entry of 22 bytes
		"0a0474696d65",          // key "time"
		"120e" + "3a0c",         // value: 7 ce_timestamp
		"08c08294d206",          // 1 seconds
		"1080cab5ee01",          // 2 nanos
		"3a077b226e223a317d",    // 7 text_data
	}, "")
	if got := hex.EncodeToString(AppendBatch(nil, &e)); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	bare := Event{ID: "1", Type: "t", Subject: "c"}
	want = "0a1d" + "0a0131" + "1200" + "1a03312e30" + "220174" + "2a0e" + "0a077375626a656374" + "1203" + "1a0163"
	if got := hex.EncodeToString(AppendBatch(nil, &bare)); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

func unpack(b []byte) (es []Event, errs []error, err error) {
	err = EachInBatch(b, func(i int, e Event, raw []byte, err error) {
		if i != len(es) {
			panic("events out of order")
		}
		es, errs = append(es, e), append(errs, err)
	})
	return es, errs, err
}

func TestPackAndUnpack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(anEvent(), 0, 10).Draw(t, "events")
		var b []byte
		for i := range want {
			before := len(b)
			b = AppendBatch(b, &want[i])
			if alone := AppendBatch(nil, &want[i]); !bytes.Equal(alone, b[before:]) {
				t.Fatalf("event %d depends on what stands before it", i)
			}
		}
		got, errs, err := unpack(b)
		if err != nil || errors.Join(errs...) != nil || len(got) != len(want) {
			t.Fatalf("%d of %d events, %v, %v", len(got), len(want), errs, err)
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

// TestABatchCutAnywhereKeepsTheEventsBefore also checks that b does not change.
func TestABatchCutAnywhereKeepsTheEventsBefore(t *testing.T) {
	var b []byte
	ends := map[int]bool{0: true}
	for _, id := range []string{"1", "2", strings.Repeat("3", 200)} {
		e := Event{ID: id, Type: "api", Subject: "acme", Time: time.Unix(1, 1), Data: []byte(`{"n":1}`)}
		b = AppendBatch(b, &e)
		ends[len(b)] = true
	}
	for n := range len(b) + 1 {
		part := bytes.Clone(b[:n])
		got, errs, err := unpack(part)
		if ends[n] != (err == nil) || err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		whole := 0
		for end := range ends {
			if end > 0 && end <= n {
				whole++
			}
		}
		if len(got) != whole || errors.Join(errs...) != nil {
			t.Fatalf("cut at %d: %d events, want %d; %v", n, len(got), whole, errs)
		}
		if !bytes.Equal(part, b[:n]) {
			t.Fatal("the message was changed")
		}
	}
}

func protoEvent(fields ...string) []byte {
	s := strings.Join(fields, "")
	return append(appendLen(nil, fieldEvents, len(s)), s...)
}

func proto(field byte, s string) string { return string(appendText(nil, field, s)) }

func TestAnUnreadableEventDoesNotAffectOthers(t *testing.T) {
	good := Event{ID: "1", Type: "api", Subject: "acme"}
	attribute := func(key, value string) string {
		return proto(fieldAttributes, proto(fieldMapKey, key)+proto(fieldMapValue, value))
	}
	for _, c := range []struct {
		name, reason string
		raw          []byte
	}{
		{"an id that is no text", "UTF-8", protoEvent(proto(fieldID, "\xff"))},
		{"a source that is no text", "UTF-8", protoEvent(proto(fieldSource, "\xc3"))},
		{"a type that is no text", "UTF-8", protoEvent(proto(fieldType, "a\x80"))},
		{"a subject that is no text", "UTF-8", protoEvent(attribute("subject", proto(fieldCeString, "\xff")))},
		{"data that is no object", "`data`", protoEvent(proto(fieldText, `[1]`))},
		{"data that is no JSON", "`data`", protoEvent(proto(fieldText, `{"a":}`))},
		{"empty data", "`data`", protoEvent(proto(fieldText, ``))},
		{"data and more", "`data`", protoEvent(proto(fieldText, `{}{}`))},
		{"data that is no text", "`data`", protoEvent(proto(fieldText, "{\"a\":\"\xff\"}"))},
		{"a subject that is a URI", "`subject` has the wrong type", protoEvent(attribute("subject", proto(5<<3|2, "acme")))},
		{"a time that is a string", "`time` has the wrong type", protoEvent(attribute("time", proto(fieldCeString, "2026")))},
		{"a subject without value", "`subject`", protoEvent(proto(fieldAttributes, proto(fieldMapKey, "subject")))},
		{"a broken attribute", "attribute", protoEvent(proto(fieldAttributes, "\x0a\x09x"))},
		{"a time after 9999", "`time`", protoEvent(attribute("time", proto(fieldCeTime, "\x08\x80\xd7\x84\x9c\xf5\x07")))},
		{"too many nanoseconds", "`time`", protoEvent(attribute("time", proto(fieldCeTime, "\x10\x80\x94\xeb\xdc\x03")))},
		{"a broken time", "`time`", protoEvent(attribute("time", proto(fieldCeTime, "\x08\x80")))},
		{"fields that end early", "protobuf", protoEvent("\x0a\x05x")},
		{"groups", "protobuf", protoEvent("\x0b\x0c")},
		{"too much", "at most", protoEvent(proto(fieldText, `{"a":"`+strings.Repeat("x", MaxEventBytes)+`"}`))},
	} {
		b := append(AppendBatch(nil, &good), c.raw...)
		got, errs, err := unpack(AppendBatch(b, &good))
		if err != nil || len(got) != 3 || errs[0] != nil || errs[2] != nil || !reflect.DeepEqual(got[2], good) {
			t.Errorf("%s: %v, %v, %v", c.name, got, errs, err)
			continue
		}
		if !errors.Is(errs[1], ErrInvalid) || !strings.Contains(errs[1].Error(), c.reason) {
			t.Errorf("%s: %v, want %q", c.name, errs[1], c.reason)
		}
	}
}

func TestUnknownFieldsOfAPackedEventAreIgnored(t *testing.T) {
	b := protoEvent(proto(9<<3|2, "new"), proto(fieldID, "1"), "\x50\x96\x01",
		proto(fieldAttributes, proto(fieldMapKey, "traceparent")+proto(fieldMapValue, "\x10\x01")), proto(fieldType, "api"))
	got, errs, err := unpack(b)
	if err != nil || errs[0] != nil || got[0].ID != "1" || got[0].Type != "api" {
		t.Fatal(got, errs, err)
	}
}

func TestBrokenBatchesAreRefused(t *testing.T) {
	for _, b := range [][]byte{{1, 2, 3}, []byte(`{"id":"1"}`), {0x0a}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		{0x08, 1}, bytes.Repeat([]byte{0xff}, 20)} {
		if got, _, err := unpack(b); !errors.Is(err, ErrInvalid) || len(got) != 0 {
			t.Errorf("%x: %v, %v", b, got, err)
		}
	}
}

func FuzzEachInBatch(f *testing.F) {
	e := Event{ID: "1", Source: "s", Type: "api", Subject: "acme", Time: time.Unix(1, 1), Data: []byte(`{"n":1}`)}
	f.Add(AppendBatch(AppendBatch(nil, &e), &e))
	f.Add(protoEvent("\x0b\x0c"))
	f.Add([]byte{0x0a, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		got, errs, _ := unpack(b)
		if !bytes.Equal(before, b) {
			t.Fatal("the message was changed")
		}
		for i := range got {
			if errs[i] != nil {
				continue
			}
			if got[i].Data != nil && !validObject(got[i].Data) {
				t.Fatalf("data %q", got[i].Data)
			}
			again, errs, err := unpack(AppendBatch(nil, &got[i]))
			if err != nil || errs[0] != nil || !reflect.DeepEqual(again[0], got[i]) {
				t.Fatalf("%+v is packed as %+v, %v, %v", got[i], again, errs, err)
			}
		}
	})
}

func TestUnpackingCopiesOnce(t *testing.T) {
	msg := packed(100, `{"n":1}`)
	if n := testing.AllocsPerRun(100, func() { _ = EachInBatch(msg, func(int, Event, []byte, error) {}) }); n > 1 {
		t.Errorf("%v allocations a message, want 1", n)
	}
}

// TestUsualEqualsDecodeProto: decodeProto reads every event that usual reads, with the
// same result.
func TestUsualEqualsDecodeProto(t *testing.T) {
	usual := 0
	rapid.Check(t, func(t *rapid.T) {
		e := anEvent().Draw(t, "event")
		b := AppendBatch(nil, &e)
		_, raw, _, _ := takeField(string(b), 0)
		body := []byte(raw)
		if rapid.Bool().Draw(t, "damaged") && len(body) > 0 {
			i := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				body[i] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
			case 1:
				body = body[:i]
			default:
				body = append(body[:i:i], append(rapid.SliceOfN(rapid.Byte(), 1, 3).Draw(t, "more"), body[i:]...)...)
			}
		}
		var fast Event
		if !fast.usual(string(body), body) {
			return
		}
		usual++
		slow, err := decodeProto(string(body), body)
		if err != nil || !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%x: %+v, but %+v, %v", body, fast, slow, err)
		}
	})
	if usual == 0 {
		t.Error("nothing was in the usual form")
	}
}

func TestCheckBatch(t *testing.T) {
	t.Parallel()
	event := []byte{fieldEvents, 0}
	for _, c := range []struct {
		b    []byte
		good bool
	}{
		{nil, true},
		{bytes.Repeat(event, MaxBatchEvents), true},
		{append(bytes.Repeat(event, MaxBatchEvents-1), fieldEvents, 1, 0), true},
		{bytes.Repeat(event, MaxBatchEvents+1), false},
		{append(bytes.Repeat(event, MaxBatchEvents), 0xff), false},
		{append(bytes.Repeat(event, 10), bytes.Repeat([]byte{0xff}, 30_000)...), true}, // broken, which Batch says
		{make([]byte, MaxBatchBytes+1), false},
	} {
		if err := CheckBatch(c.b); (err == nil) != c.good || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: %v", len(c.b), err)
		}
	}
}
