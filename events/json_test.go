package events

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *time.Time {
	t := noon.Add(d)
	return &t
}

// TestJSONForms pins the forms that apps and other programs read.
func TestJSONForms(t *testing.T) {
	day := 24 * time.Hour
	half := Value{Nanos: 500_000_000}
	for _, c := range []struct {
		name string
		v    any
		want string
	}{
		{"blocked", Decision{Customer: "acme", Feature: "api", Reason: LimitReached, Plan: "free", Limit: Some(Count(100)), Used: Some(Count(101)),
			Remaining: Some(Count(0)), WindowStart: at(0), WindowEnd: at(30 * day), UnblocksAt: at(30 * day), Message: "Upgrade", UpgradeURL: "https://a.example/u",
			DecidedAt: noon, AsOf: noon, Position: 12345},
			`{"customer":"acme","feature":"api","allowed":false,"reason":"limit_reached","plan":"free","limit":100,"used":101,"remaining":0,` +
				`"window_start":"2026-07-01T12:00:00Z","window_end":"2026-07-31T12:00:00Z","unblocks_at":"2026-07-31T12:00:00Z",` +
				`"message":"Upgrade","upgrade_url":"https://a.example/u","decided_at":"2026-07-01T12:00:00Z","as_of":"2026-07-01T12:00:00Z","position":12345}`},
		{"unlimited", Decision{Customer: "acme", Feature: "api", Allowed: true, Reason: Unlimited, Plan: "paid", DecidedAt: noon, AsOf: noon},
			`{"customer":"acme","feature":"api","allowed":true,"reason":"unlimited","plan":"paid","limit":null,"used":null,"remaining":null,` +
				`"window_start":null,"window_end":null,"unblocks_at":null,"decided_at":"2026-07-01T12:00:00Z","as_of":"2026-07-01T12:00:00Z","position":0}`},
		{"shadow", Decision{Customer: "acme", Feature: "api", Allowed: true, Reason: Shadow, WouldBlock: true, Plan: "free", Limit: Some(half), Used: Some(half), Remaining: Some(Count(0)), DecidedAt: noon, AsOf: noon},
			`{"customer":"acme","feature":"api","allowed":true,"reason":"shadow","would_block":true,"plan":"free","limit":"0.5","used":"0.5","remaining":0,` +
				`"window_start":null,"window_end":null,"unblocks_at":null,"decided_at":"2026-07-01T12:00:00Z","as_of":"2026-07-01T12:00:00Z","position":0}`},
		{"a value that is there", Some(Count(-3)), `-3`},
		{"one that is not", NullValue{}, `null`},
		{"a fraction", Value{Units: -1, Nanos: 500_000_000}, `"-0.5"`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\ngot  %s %v\nwant %s", c.name, got, err, c.want)
			continue
		}
		back := reflect.New(reflect.TypeOf(c.v))
		if err := json.Unmarshal(got, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), c.v) {
			t.Errorf("%s is read as %+v, %v", c.name, back.Elem().Interface(), err)
		}
	}
}

func TestValuesAreReadFromNumbersAndStrings(t *testing.T) {
	var got struct {
		A, B, C Value
		N       NullValue
	}
	if err := json.Unmarshal([]byte(`{"A":0.25,"B":"812","C":1e3,"N":"1.5"}`), &got); err != nil {
		t.Fatal(err)
	}
	if got.A != (Value{Nanos: 250_000_000}) || got.B != Count(812) || got.C != Count(1000) || got.N.String() != "1.5" || !got.N.Valid {
		t.Errorf("%+v", got)
	}
	if (NullValue{}).String() != "unlimited" {
		t.Error("an absent value is not told as unlimited")
	}
	for _, s := range []string{`{"A":"NaN"}`, `{"A":true}`, `{"A":[1]}`, `{"N":"x"}`, `{"A":null}`} {
		if err := json.Unmarshal([]byte(s), &got); err == nil {
			t.Errorf("%s is read as %+v", s, got)
		}
	}
}
