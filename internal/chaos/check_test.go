package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

var noon = time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)

// quiet is a small run that went well: acme has used 3 of 3, of whom the last
// was sent twice; bolt has used 2, and a third is neither acknowledged nor
// stored.
func quiet() ([]Sent, *Observed) {
	use := func(id, customer string, outcome Outcome) Sent {
		return Sent{Event: Event{ID: id, Customer: customer, Type: "api"}, Outcome: outcome, Times: 1, Via: []string{"http"}}
	}
	sent := []Sent{use("e-1", "acme", Accepted), use("e-2", "acme", Accepted), use("e-3", "acme", Accepted),
		use("e-4", "bolt", Accepted), use("e-5", "bolt", Unknown), use("e-6", "bolt", Unknown)}
	for i, amount := range []events.Value{events.Count(2), {Units: 0, Nanos: 5e8}, events.Count(1)} {
		sent = append(sent, Sent{Outcome: Accepted, Times: 1, Event: Event{ID: fmt.Sprintf("t-%d", i), Customer: "acme", Type: "tokens",
			Time: noon.AddDate(0, 0, -i/2), Amount: amount}})
	}
	for i, member := range []string{"a", "b", "a"} {
		sent = append(sent, Sent{Outcome: Accepted, Times: 1, Event: Event{ID: fmt.Sprintf("s-%d", i), Customer: "acme", Type: "seats", Member: member}})
	}
	window := func(customer, feature string, start time.Time, used events.Value) events.Window {
		return events.Window{Customer: customer, Feature: feature, Start: start, End: start.AddDate(0, 0, 1), Used: used}
	}
	midnight := noon.Truncate(24 * time.Hour)
	o := &Observed{
		Now: noon, Stored: map[string]int{"e-1": 1, "e-2": 1, "e-3": 2, "e-4": 1, "e-5": 1, "t-0": 1, "t-1": 1, "t-2": 1, "s-0": 1, "s-1": 1, "s-2": 1},
		Windows: []events.Window{
			window("acme", "api", midnight, events.Count(3)), window("bolt", "api", midnight, events.Count(2)),
			window("acme", "tokens", midnight, events.Value{Units: 2, Nanos: 5e8}), window("acme", "tokens", midnight.AddDate(0, 0, -1), events.Count(1)),
			window("acme", "seats", time.Time{}, events.Count(2)),
		},
		Mails: []Mail{{Key: "limit-reached/1", To: "acme@example.com"}},
	}
	o.Documents = slices.Clone(o.Windows)
	for i, allowed := range []bool{true, false} {
		o.Puts = append(o.Puts, Put{Seq: uint64(i + 1), Key: "acme.api", Decision: events.Decision{Customer: "acme", Feature: "api", Allowed: allowed, Position: int64(i + 5)}})
	}
	return sent, o
}

var (
	testGates = []Gate{
		{Feature: "api", Aggregate: Count, Limit: 3, Mails: true},
		{Feature: "tokens", Aggregate: Sum, Limit: 100, Daily: true},
		{Feature: "seats", Aggregate: Unique, Limit: 10},
	}
	testCustomers = []Customer{{ID: "acme", Email: "acme@example.com"}, {ID: "bolt", Email: "bolt@example.com"}}
)

func TestCheckFindsNothingInAGoodRun(t *testing.T) {
	sent, o := quiet()
	if found := Check(testGates, testCustomers, sent, o); len(found) > 0 {
		t.Error(found)
	}
}

func TestCheckKnowsWhatAChangeDoes(t *testing.T) {
	sent, o := quiet()
	paid := slices.Clone(testCustomers)
	paid[0].Paid, paid[0].Upgraded = true, true
	o.Puts[1].Decision.Allowed = true
	if found := Check(testGates, paid, sent, o); len(found) > 0 { // with the mail that went out before
		t.Error(found)
	}
	o.Mails = append(o.Mails, Mail{"limit-reached/2", "acme@example.com"})
	if found := Check(testGates, paid, sent, o); len(found) != 1 {
		t.Errorf("of two mails it says %v", found)
	}
	g := Gate{Feature: overridden, Limit: 3}
	if got := g.limit(&Customer{Override: 7}); got != events.Count(7) {
		t.Errorf("the limit is %s", got)
	}
	if got := testGates[0].limit(&Customer{Override: 7}); got != events.Count(3) {
		t.Errorf("the limit of another feature is %s", got)
	}
}

// TestCheckFinds breaks the good run in one place at a time.
func TestCheckFinds(t *testing.T) {
	for name, c := range map[string]struct {
		what  string
		spoil func(sent []Sent, o *Observed)
	}{
		"one lost":                 {"window", func(_ []Sent, o *Observed) { o.Windows[1].Used = events.Count(1) }},
		"one doubled":              {"window", func(_ []Sent, o *Observed) { o.Windows[1].Used = events.Count(3) }},
		"half of one lost":         {"window", func(_ []Sent, o *Observed) { o.Windows[2].Used = events.Count(2) }},
		"one in the wrong day":     {"window", func(_ []Sent, o *Observed) { o.Windows[3].Start = o.Windows[2].Start }},
		"a member counted twice":   {"window", func(_ []Sent, o *Observed) { o.Windows[4].Used = events.Count(3) }},
		"a window that is missing": {"window", func(_ []Sent, o *Observed) { o.Windows = o.Windows[:4] }},
		"a window of nobody":       {"window", func(_ []Sent, o *Observed) { o.Windows[4].Customer = "nobody" }},
		"a document behind":        {"document", func(_ []Sent, o *Observed) { o.Documents[0].Used = events.Count(2) }},
		"an unknown one that is counted but not stored": {"window", func(_ []Sent, o *Observed) { delete(o.Stored, "e-5") }},
		"an acknowledged one that was not stored":       {"acknowledged but not in USAGE", func(_ []Sent, o *Observed) { delete(o.Stored, "e-1") }},
		"a decision that goes back": {"decision went back", func(_ []Sent, o *Observed) {
			p := o.Puts[0]
			p.Seq, p.Decision.Allowed = 3, false
			o.Puts = append(o.Puts, p)
		}},
		"a block that is missing":    {"decision", func(_ []Sent, o *Observed) { o.Puts[1].Decision.Allowed = true }},
		"a decision that is missing": {"decision", func(_ []Sent, o *Observed) { o.Puts = nil }},
		"a block too many": {"decision", func(_ []Sent, o *Observed) {
			o.Puts = append(o.Puts, Put{Seq: 9, Key: "bolt.api", Decision: events.Decision{Customer: "bolt", Feature: "api", Position: 9}})
		}},
		"a mail that is missing": {"mails", func(_ []Sent, o *Observed) { o.Mails = nil }},
		"a mail too many":        {"mails", func(_ []Sent, o *Observed) { o.Mails = append(o.Mails, Mail{"limit-reached/2", "acme@example.com"}) }},
		"a mail to the wrong":    {"mails", func(_ []Sent, o *Observed) { o.Mails = append(o.Mails, Mail{"limit-reached/2", "bolt@example.com"}) }},
		"an app that is behind": {"check in an app", func(_ []Sent, o *Observed) {
			o.Checks = []events.Decision{{Customer: "acme", Feature: "api", Allowed: true}}
		}},
		"a dead letter": {"dead letter", func(_ []Sent, o *Observed) { o.Dead = []events.Dead{{Origin: "USAGE/1/0", Reason: "x"}} }},
	} {
		t.Run(name, func(t *testing.T) {
			sent, o := quiet()
			c.spoil(sent, o)
			found := Check(testGates, testCustomers, sent, o)
			if !slices.ContainsFunc(found, func(d Difference) bool { return d.What == c.what }) {
				t.Errorf("no difference of %q in %v", c.what, found)
			}
		})
	}
}
