package fold

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	body := []byte(`{"id":"evt_1","type":"customer.created","created":1772366400,"api_version":"2026-08-26.x","data":{"object":{"id":"cus_1"}}}`)
	now := t0
	good := Sign(body, "whsec_new", now)
	cases := []struct {
		name    string
		body    []byte
		header  string
		secrets []string
		now     time.Time
		want    error
	}{
		{"one secret", body, good, []string{"whsec_new"}, now, nil},
		{"rotation", body, good, []string{"whsec_old", "whsec_new"}, now, nil},
		{"several signatures", body, good + "," + strings.SplitN(Sign(body, "whsec_other", now), ",", 2)[1], []string{"whsec_other"}, now, nil},
		{"wrong secret", body, good, []string{"whsec_old"}, now, ErrSignature},
		{"no secret", body, good, nil, now, ErrSignature},
		{"empty secret", body, Sign(body, "", now), []string{""}, now, ErrSignature},
		{"another body", append([]byte(" "), body...), good, []string{"whsec_new"}, now, ErrSignature},
		{"no header", body, "", []string{"whsec_new"}, now, ErrSignature},
		{"garbage header", body, "t=1,v1", []string{"whsec_new"}, now, ErrSignature},
		{"no time", body, good[strings.Index(good, "v1="):], []string{"whsec_new"}, now, ErrSignature},
		{"just in time", body, good, []string{"whsec_new"}, now.Add(Tolerance), nil},
		{"too old", body, good, []string{"whsec_new"}, now.Add(Tolerance + time.Second), ErrSignature},
		{"just ahead", body, good, []string{"whsec_new"}, now.Add(-Tolerance), nil},
		{"from the future", body, good, []string{"whsec_new"}, now.Add(-Tolerance - time.Second), ErrSignature},
		{"a second time in front", body, "t=1," + good, []string{"whsec_new"}, now, nil},
		{"a second time behind", body, good + ",t=" + "1", []string{"whsec_new"}, now, ErrSignature},
		{"not JSON", []byte("hello"), Sign([]byte("hello"), "s", now), []string{"s"}, now, ErrPayload},
		{"empty", nil, Sign(nil, "s", now), []string{"s"}, now, ErrPayload},
		{"array", []byte("[]"), Sign([]byte("[]"), "s", now), []string{"s"}, now, ErrPayload},
		{"empty object", []byte("{}"), Sign([]byte("{}"), "s", now), []string{"s"}, now, nil},
		{"null", []byte("null"), Sign([]byte("null"), "s", now), []string{"s"}, now, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Verify(c.body, c.header, c.secrets, c.now); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
	e, err := Verify(body, good, []string{"whsec_new"}, now)
	if err != nil || e.ID != "evt_1" || e.Type != "customer.created" || !e.Created.Equal(t0) || e.Thin || string(e.Object) != `{"id":"cus_1"}` {
		t.Errorf("envelope %+v, %v", e, err)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]Mode{
		"sk_test_1": ModeTest, "rk_test_1": ModeTest, "sk_live_1": ModeLive, "rk_live_1": ModeLive, "": "", "sk_other": "", "pk_live_1": "",
	} {
		if got := ModeOfKey(key); got != want {
			t.Errorf("%s: mode %q, want %q", key, got, want)
		}
	}
	for _, c := range []struct {
		body string
		ours Mode
		want error
	}{
		{`{"livemode":true}`, ModeLive, nil},
		{`{"livemode":true}`, ModeTest, ErrMode},
		{`{"livemode":false}`, ModeLive, ErrMode},
		{`{"livemode":false}`, "", nil},
		{`{"object":"v2.core.event","livemode":false}`, ModeLive, ErrMode},
		{`{}`, ModeLive, nil},
		{`{"livemode":null}`, ModeLive, nil},
	} {
		e, err := ParseEnvelope([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.CheckMode(c.ours); !errors.Is(err, c.want) {
			t.Errorf("%s in %q: %v, want %v", c.body, c.ours, err, c.want)
		}
	}
}

func TestOddEventsAreAcceptedAndChangeNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{}`, `null`, `{"id":"evt_1"}`, `{"id":"evt_1","data":null}`, `{"id":"evt_1","data":[]}`, `{"id":7,"created":"x","data":7}`,
		`{"id":"evt_1","type":"customer.subscription.updated","created":1772366400,"data":{"object":null}}`,
		`{"id":"evt_1","type":"customer.subscription.updated","created":1772366400,"data":{"object":{"object":"subscription"}}}`,
		`{"id":"evt_1","type":"x.y","created":1772366400,"data":{"object":{"object":"something_new","id":"x","customer":"cus_1"}}}`,
		`{"id":"evt_1","type":"invoice.paid","created":1772366400,"data":{"object":{"object":"invoice","id":"in_1","customer":null}}}`,
		`{"id":"evt_1","type":"checkout.session.completed","created":1772366400,"data":{"object":{"object":"checkout.session","customer":null}}}`,
		`{"id":"evt_t","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered","created":"2026-03-01T12:00:00.000Z","related_object":{"id":"mtr_1"}}`,
	} {
		s := New(testConfig())
		rec, err := ParseRecord(KindStripe, []byte(body), 1, t0)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if changes := s.Apply(rec); len(changes) != 0 || len(unmapped(s)) != 0 {
			t.Errorf("%s: changes %v, unmapped %v", body, changes, unmapped(s))
		}
	}
	e, _ := ParseEnvelope([]byte(`{"object":"v2.core.event","created":"2026-03-01T12:00:00.5Z"}`))
	if !e.Thin || !e.Created.Equal(t0) {
		t.Errorf("thin event: %+v", e)
	}
}

func TestUnreadableObjectIsRefused(t *testing.T) {
	t.Parallel()
	_, err := ParseRecord(KindStripe, []byte(`{"id":"evt_1","type":"invoice.paid","created":1772366400,
		"data":{"object":{"object":"invoice","customer":"cus_1","subscription":"sub_1","amount_paid":"many"}}}`), 1, t0)
	if !errors.Is(err, ErrRecord) {
		t.Errorf("error %v, want %v", err, ErrRecord)
	}
	for kind, body := range map[Kind]string{
		KindMap: `{}`, KindFetched: `{"object":{}}`, "other": `{}`,
	} {
		if _, err := ParseRecord(kind, []byte(body), 1, t0); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: error %v, want %v", kind, err, ErrRecord)
		}
	}
	if _, err := ParseRecord(KindMap, []byte(`{"customer":"a\u0000b","stripe_customer":"cus_1"}`), 1, t0); !errors.Is(err, ErrRecord) {
		t.Errorf("a customer with a control character: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	for _, scs := range versions() {
		for _, sc := range scs {
			for _, s := range sc.shops {
				for _, b := range s.evs {
					f.Add(b)
				}
			}
		}
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	for _, b := range thinEvents(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if e, err := Verify(body, Sign(body, "whsec", t0), []string{"whsec"}, t0); err == nil {
			_ = e.CheckMode(ModeLive)
			e.Refs()
			New(testConfig()).Compare(&Fetched{At: t0, Object: e.Object})
		}
		fetched, err := json.Marshal(Fetched{Type: "subscription", ID: "sub_1", At: t0, Object: body})
		if err == nil { // the body is JSON
			if rec, err := ParseRecord(KindFetched, fetched, 1, t0); err == nil {
				New(testConfig()).Apply(rec)
			}
		}
		rec, err := ParseRecord(KindStripe, body, 1, t0)
		if err != nil {
			if !errors.Is(err, ErrPayload) && !errors.Is(err, ErrRecord) {
				t.Fatalf("error %v is not typed", err)
			}
			return
		}
		s := New(testConfig())
		s.Apply(rec)
		s.Apply(Record{Kind: KindMap, Seq: 2, Map: Mapping{Customer: "acme", StripeCustomer: "cus_1"}})
		s.Advance(t0.AddDate(1, 0, 0))
		s.Report("", 10)
		b, err := s.Snapshot(0)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Restore(testConfig(), b); err != nil {
			t.Fatal(err)
		}
	})
}
