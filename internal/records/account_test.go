package records

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
)

func TestAppsSayAddressAndLocaleOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ token, data, why string }{
		{"acme", `{"email":"ada@acme.example","locale":"de"}`, ""},
		{"acme", `{"customer":"acme","email":""}`, ""},
		{"a=40b=2Ec", `{"customer":"a@b.c","locale":"pt-BR"}`, ""},
		{"acme", `{"customer":"other","email":"ada@acme.example"}`, "says the customer"},
		{"acme", `{"plan":{"name":"paid"}}`, "address and locale only"},
		{"acme", `{"gate":{"feature":"admin","off":true}}`, "address and locale only"},
		{"acme", `{"payment":{}}`, "address and locale only"},
		{"acme", `{"stripe_customer":"cus_1"}`, "address and locale only"},
		{"acme", `{"anchor":"2026-07-01T00:00:00Z"}`, "address and locale only"},
		{"acme", `{"erase":true}`, "address and locale only"},
		{"acme", `{"suppress":""}`, "address and locale only"},
		{"acme", `{"email":"a@b.c","email_source":"stripe"}`, "address and locale only"},
		{"acme", `{"email":"a@b.c","email":"d@b.c"}`, "stands twice"},
		{"acme", `{"email":"ada"}`, "not a mail address"},
		{"acme", `{"email":"a@b.c\r\nBcc: d@e.f"}`, "not a mail address"},
		{"acme", `{"locale":"../de"}`, "not a language tag"},
		{"~control", `{"email":"a@b.c"}`, "must be escaped"},
		{"=00", `{}`, "control character"},
		{"", `{}`, "empty"},
		{"acme", ``, "breaks off"},
	} {
		a, err := DecodeAccount("ns.account.3.in."+c.token, []byte(c.data), 4)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s %s: %v, want %q", c.token, c.data, err, c.why)
		}
		if err == nil && (a.Customer == "" || a.EmailSource != "") {
			t.Errorf("%s %s: %+v", c.token, c.data, a)
		}
	}
}

// nulls are n overrides to be taken back.
func nulls(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"f%d":null,`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func TestRecordsOfRolesAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ data, why string }{
		{`{"customer":"acme","plan":{"name":""},"overrides":{"api":null}}`, ""},
		{`{"gate":{"feature":"api","off":true}}`, ""},
		{`{"customer":"acme","payment":{"key":"k","void":true}}`, ""},
		{`{"customer":"acme","email":"odd","email_source":"stripe"}`, ""},
		{`{}`, "`subject` is missing"},
		{`[]`, "cannot unmarshal"},
		{`{"gate":{}}`, "cannot be named"},
		{`{"customer":"fz","gate":{"feature":"api"},"payment":{}}`, "names the customer"},
		{`{"customer":"fz","subscription":{"plan":"a\u0000b"}}`, "cannot be named"},
		{`{"customer":"fz","payment":{}}`, "payment has no key"},
		{`{"customer":"fz","payment":{"key":"k"}}`, "years 1970 to 2200"},
		{`{"customer":"fz","move":{"key":"` + strings.Repeat("k", 1001) + `","at":"2026-07-01T00:00:00Z"}}`, "move has no key"},
		{`{"customer":"fz","refund":{"key":"k","at":"9999-07-01T00:00:00Z"}}`, "years 1970 to 2200"},
		{`{"customer":"fz","mail":{"key":"","at":"2026-07-01T00:00:00Z"}}`, "mail has no key"},
		{`{"customer":"fz","click":{}}`, "cannot be named"},
		{`{"customer":"fz","anchor":"0001-01-01T00:00:00Z"}`, "years 1970 to 2200"},
		{`{"customer":"fz","overrides":{"api":{}}}`, "neither a limit nor a grant"},
		{`{"customer":"fz","overrides":{` + nulls(1000) + `}}`, ""},
		{`{"customer":"fz","overrides":{` + nulls(60_000) + `}}`, "60000 overrides, at most 1000"},
		{`{"customer":"fz","overrides":{"api":{"grant":-1}}}`, "negative"},
		{`{"customer":"fz","overrides":{"api":{"limit":1,"until":"0001-01-01T00:00:00Z"}}}`, "years 1970 to 2200"},
		{`{"customer":"fz","overrides":{"api":{"limit":1,"reason":"` + strings.Repeat("r", 501) + `"}}}`, "the reason has"},
	} {
		_, err := DecodeAccount("account.0", []byte(c.data), 1)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.data, err, c.why)
		}
	}
}

func TestRecordsOfRolesBelongToTheirPartition(t *testing.T) {
	t.Parallel()
	home := events.PartitionOf("fz", 12)
	for p := range 12 {
		for _, ns := range []string{"", "acme.", "in."} {
			_, err := DecodeAccount(fmt.Sprintf("%saccount.%d", ns, p), []byte(`{"customer":"fz","plan":{"name":"paid"}}`), 12)
			if (err == nil) != (p == home) {
				t.Errorf("partition %d of namespace %q: %v", p, ns, err)
			}
		}
	}
}

// What FuzzAccount accepts of apps is nothing but address and locale.
func FuzzAccount(f *testing.F) {
	f.Add("acme", []byte(`{"email":"a@b.c","locale":"de"}`))
	f.Add("a=2Eb", []byte(`{"customer":"a.b","plan":{"name":"x"}}`))
	f.Add("acme", []byte(`{"Plan":{"name":"x"},"overrides":{"api":{"limit":1}}}`))
	f.Fuzz(func(t *testing.T, token string, data []byte) {
		if a, err := DecodeAccount("account.0", data, 1); err == nil {
			if _, err := json.Marshal(a); err != nil {
				t.Fatalf("accepted, but cannot be written: %v", err)
			}
		}
		if strings.ContainsAny(token, ". ") {
			return
		}
		a, err := DecodeAccount("account.0.in."+token, data, 1)
		if err != nil {
			return
		}
		a.Customer, a.Email, a.Locale = "", nil, nil
		if b, _ := json.Marshal(a); string(b) != "{}" {
			t.Fatalf("an app said %s", b)
		}
	})
}
