package notifier

import (
	"testing"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// FuzzAccount has the notifier read hostile records. It refuses none, as the enforcer
// writes the letter, keeps no mail or conversion without a key, and still mails
// afterwards.
func FuzzAccount(f *testing.F) {
	for _, data := range []string{
		`{"customer":"acme","payment":{}}`, `{"customer":"acme","gate":{"feature":"api"},"payment":{}}`, `{"customer":"acme","move":{"key":""}}`,
		`{"customer":"acme","mail":{"key":"k","event":"bounced","at":"2026-03-01T13:00:00Z"}}`, `{"customer":"acme","click":{"feature":"api"}}`,
		`{"customer":"acme","refund":{"key":"re_1","amount":-1,"at":"2026-03-01T13:00:00Z"}}`, `{"customer":"acme","erase":true,"suppress":"x"}`, `null`, `{`,
	} {
		f.Add(false, []byte(data))
		f.Add(true, []byte(data))
	}
	f.Fuzz(func(t *testing.T, app bool, data []byte) {
		b := newBench(t)
		subject := "account.0"
		if app {
			subject = "account.0.in.acme"
		}
		b.must(b.p.Handle(&stream.Message{Input: inputAccount, Subject: subject, Data: data, Seq: 1, Time: noon}))
		for key := range b.store.conversions {
			if key == "" {
				t.Fatal("a conversion has no key")
			}
		}
		b.account(records.Account{Customer: "next", Email: new("ada@acme.example")})
		if p := b.p.known("next"); p.address() != "ada@acme.example" {
			t.Fatalf("the next record was not taken: %+v", p)
		}
	})
}
