package enforcer

import (
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

var hostileAccounts = []string{
	`{"customer":"acme","plan":{"name":"paid"}}`, `{"gate":{"feature":"admin","off":true}}`, `{"customer":"fz","payment":{}}`, `null`, `[]`, `{`,
	`{"customer":"acme","anchor":"0001-01-01T00:00:00Z"}`, `{"customer":"acme","anchor":"9999-12-31T23:59:59Z"}`,
	`{"customer":"acme","overrides":{"api":{"limit":-1}}}`, `{"customer":"acme","overrides":{"api":null}}`,
	`{"customer":"acme","overrides":{"api":{"grant":9223372036854775807}}}`, `{"customer":"acme","erase":true,"overrides":{"api":{"limit":1}}}`,
	`{"customer":"acme","subscription":{"position":18446744073709551615,"plan":"pro"}}`, `{"email":"ada@acme.example","locale":"de"}`,
}

// An app's message leaves one dead letter, by the enforcer, and changes neither plan nor
// gate.
func TestHostileAccountsOfApps(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	for _, data := range hostileAccounts {
		b.publish(t, "account.in.acme", []byte(data))
	}
	c, ds := b.fresh(t, "acme")
	if c.Email != "ada@acme.example" || c.Locale != "de" || c.PinnedPlan != "" || c.Anchor != nil || len(c.Overrides) != 0 || c.Plan != "free" {
		t.Errorf("an app changed %+v, %+v", c, ds)
	}
	if got, want := b.letters(t), len(hostileAccounts)-1; got != want { // the last one is what apps may say
		t.Errorf("%d dead letters, want %d", got, want)
	}
}

// letters returns the number of dead letters. The owner publishes them before it answers
// what fresh asks, but does not wait for their acknowledgement: it commits after that.
func (b *bench) letters(t testing.TB) (n int) {
	t.Helper()
	b.account(t, records.Account{Customer: "last", Plan: &records.PlanPin{Name: "pro"}})
	b.bucket(t, events.DecisionKey("last", "api"), allowed)
	in := stream.Input{Stream: events.StreamDead, Filters: []string{"dead.0"}}
	err := stream.Read(t.Context(), b.env.JS, b.env.Names, in, ^uint64(0), func(*stream.Message) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// FuzzAccount has an owner read hostile records. Afterwards it still takes the next one.
func FuzzAccount(f *testing.F) {
	for _, data := range hostileAccounts {
		f.Add(false, []byte(data))
		f.Add(true, []byte(data))
	}
	b := newBench(f)
	_, end := b.run(f)
	f.Fuzz(func(t *testing.T, app bool, data []byte) {
		if len(data) > 1<<19 {
			return
		}
		subject := "account.0"
		if app {
			subject = "account.in.acme"
		}
		b.publish(t, subject, data)
		locale := "en"
		if len(data)%2 == 0 {
			locale = "de"
		}
		b.account(t, records.Account{Customer: "after", Locale: &locale})
		if c, _ := b.fresh(t, "after"); c.Locale != locale {
			t.Fatalf("the next record was not taken: %+v", c)
		}
		select {
		case err := <-end:
			t.Fatalf("the owner ended: %v", err)
		default:
		}
	})
}
