package chaos

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

var noon = time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)

// entry is a message of a log: an event and when it was stored.
type entry struct {
	Event
	stored time.Time
}

// aLog is the log of a small run. acme uses 3 of 3, one of them sent again with
// another time, and some of each other feature, also across midnight and in the window
// before. bolt uses 2. Two events come too late or too early to be counted, and one of
// these a second time with a valid time.
func aLog() (log []entry) {
	add := func(e Event) { log = append(log, entry{e, noon.Add(time.Duration(len(log)) * time.Second)}) }
	use := func(id, customer, feature string, at time.Time) {
		add(Event{ID: id, Customer: customer, Type: feature, Time: at})
	}
	use("e-1", "acme", "api", noon.Add(-time.Hour))
	use("e-2", "acme", "api", noon.Add(-time.Minute))
	use("e-2", "acme", "api", noon.AddDate(0, 0, -20))
	use("e-3", "acme", "api", time.Time{})
	use("e-4", "bolt", "api", noon.Add(-2*time.Hour))
	use("e-5", "bolt", "api", time.Time{})
	use("e-6", "acme", "api", noon.AddDate(0, 0, -5))
	use("e-7", "acme", "api", noon.AddDate(0, 0, -33))
	use("e-7", "acme", "api", noon.Add(4*time.Minute))
	use("e-8", "bolt", "api", noon.Add(time.Hour))
	midnight := noon.Truncate(24 * time.Hour)
	for i, at := range []time.Time{noon, midnight, midnight.Add(-time.Millisecond)} {
		add(Event{ID: "t-" + strconv.Itoa(i), Customer: "acme", Type: "tokens", Time: at, Amount: events.Value{Units: int64(i), Nanos: 5e8}})
	}
	for i, member := range []string{"a", "b", "a"} {
		add(Event{ID: "s-" + strconv.Itoa(i), Customer: "acme", Type: "seats", Member: member, Time: noon})
	}
	use("r-0", "acme", "search", noon.AddDate(0, 0, -31))
	use("r-1", "acme", "search", noon.AddDate(0, 0, -29))
	return log
}

// fold is a simple implementation of counting, which shares no code with the checker.
func fold(log []entry) (windows []records.Window, dead []records.Dead) {
	seen, members, anchors := map[string]bool{}, map[string]bool{}, map[string]time.Time{}
	for i, e := range log {
		at := e.Time
		if at.IsZero() {
			at = e.stored
		}
		if at.Before(e.stored.AddDate(0, 0, -32)) || at.After(e.stored.Add(5*time.Minute)) {
			dead = append(dead, records.Dead{Origin: "USAGE/" + strconv.Itoa(i+1) + "/0"})
			continue
		}
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		if anchors[e.Customer].IsZero() {
			anchors[e.Customer] = at.Truncate(time.Second)
		}
		w := records.Window{Customer: e.Customer, Feature: e.Type, Used: events.Count(1)}
		switch e.Type {
		case "api":
			for w.Start = anchors[e.Customer]; w.Start.After(at); w.Start = w.Start.AddDate(0, 0, -30) {
			}
			w.End = w.Start.AddDate(0, 0, 30)
		case "tokens":
			w.Start, w.Used = time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC), e.Amount
			w.End = w.Start.AddDate(0, 0, 1)
		case "seats":
			w.Start = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
			w.End = w.Start.AddDate(0, 1, 0)
			if members[e.Member] {
				continue
			}
			members[e.Member] = true
		case "search":
			if at.Before(noon.AddDate(0, 0, -30)) {
				continue
			}
		}
		same := slices.IndexFunc(windows, func(x records.Window) bool {
			return x.Customer == w.Customer && x.Feature == w.Feature && x.Start.Equal(w.Start)
		})
		if same < 0 {
			windows = append(windows, w)
			continue
		}
		windows[same].Used, _ = windows[same].Used.Add(w.Used)
	}
	return windows, dead
}

// quiet returns the record and the state of a run without errors, with that log.
func quiet() ([]Sent, *Observed) {
	l := NewLedger()
	o := &Observed{Since: noon.Add(-time.Minute), Now: noon.Add(time.Minute), Mails: []Mail{{Key: "limit-reached/1", To: "acme@example.com"}}}
	for i, e := range aLog() {
		l.Send("http", e.Event)
		l.Accept(e.Event)
		o.Stored = append(o.Stored, Copy{ID: e.ID, Origin: "USAGE/" + strconv.Itoa(i+1) + "/0", At: e.stored, Time: e.Time, Of: e.Customer, Type: e.Type})
	}
	l.Send("http", Event{ID: "e-9", Customer: "bolt", Type: "api"}) // neither acknowledged nor stored
	o.Windows, o.Dead = fold(aLog())
	o.Documents = slices.Clone(o.Windows)
	for i, allowed := range []bool{true, false} {
		o.Puts = append(o.Puts, Put{Seq: uint64(i + 1), Key: "acme.api", Decision: events.Decision{Customer: "acme", Feature: "api", Allowed: allowed, Position: int64(i + 5)}})
	}
	reached := noon.Add(time.Second)
	o.Reached = []records.Notification{{Customer: "cora", Kind: records.LimitKindReached, ReachedAt: reached}}
	o.Converted = []records.Conversion{{Kind: records.MoveConversion, Key: "cora/sub_1", Customer: "cora", FromPlan: "free", ToPlan: "pro", StripeEvent: "evt_1", Amount: 1900,
		Currency: currency, Feature: "api", LimitReachedAt: &reached, ConvertedAt: noon.Add(time.Second)}}
	return l.All(), o
}

var (
	testGates = []Gate{
		{Feature: "api", Aggregate: Count, Limit: 4, Period: Anniversary, Mails: true},
		{Feature: "tokens", Aggregate: Sum, Limit: 100, Period: Day},
		{Feature: "seats", Aggregate: Unique, Limit: 10, Period: Month},
		{Feature: "search", Aggregate: Count, Limit: 10, Period: Rolling},
	}
	testCustomers = []Customer{{ID: "acme", Email: "acme@example.com"}, {ID: "bolt", Email: "bolt@example.com"},
		{ID: "cora", Paid: true, Upgraded: true, Payment: &Payment{Subscription: "sub_1", Event: "evt_1", Amount: 1900, At: noon.Add(time.Second)}}}
)

func TestCheckFindsNothingInAGoodRun(t *testing.T) {
	sent, o := quiet()
	if found := Check(testGates, testCustomers, sent, o); len(found) > 0 {
		t.Error(found)
	}
}

// TestCheckFindsAnotherLog counts another log than the stored one: for each counted
// event, without it, with it twice, and in another order.
func TestCheckFindsAnotherLog(t *testing.T) {
	found := func(t *testing.T, log []entry) []Difference {
		t.Helper()
		sent, o := quiet()
		o.Windows, o.Dead = fold(log)
		return Check(testGates, testCustomers, sent, o)
	}
	without := 0
	for i, e := range aLog() {
		if e.ID == "r-0" || e.ID == "s-0" || e.ID == "s-2" || e.ID == "e-2" && e.Time.Before(noon.AddDate(0, 0, -1)) {
			continue // adds nothing
		}
		without++
		if len(found(t, slices.Delete(aLog(), i, i+1))) == 0 {
			t.Errorf("nothing is found without %s (%d)", e.ID, i)
		}
		if at := e.Time; !at.IsZero() && (at.Before(e.stored.Add(-horizon)) || at.After(e.stored.Add(ahead))) || e.Type == "seats" {
			continue // not counted, or not by its amount
		}
		twice := e
		twice.ID += " again"
		if len(found(t, append(aLog(), twice))) == 0 {
			t.Errorf("nothing is found with %s (%d) counted twice", e.ID, i)
		}
	}
	if without < 13 {
		t.Errorf("only %d events matter", without)
	}
	for name, order := range map[string][2]int{"the first event, whose time is the anchor": {0, 1}, "an event and its repetition with another time": {1, 2}} {
		log := aLog()
		a, b := order[0], order[1]
		log[a].Event, log[b].Event = log[b].Event, log[a].Event
		if len(found(t, log)) == 0 {
			t.Errorf("nothing is found when these change places: %s", name)
		}
	}
}

func TestCheckKnowsWhatAChangeDoes(t *testing.T) {
	sent, o := quiet()
	paid := slices.Clone(testCustomers)
	paid[0].Paid, paid[0].Upgraded = true, true
	o.Puts[1].Decision.Allowed = true
	if found := Check(testGates, paid, sent, o); len(found) > 0 { // with the mail that was sent before
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
	if got := testGates[0].limit(&Customer{Override: 7}); got != events.Count(4) {
		t.Errorf("the limit of another feature is %s", got)
	}
}

// TestCheckKnowsThatWindowsEnd: a customer who was blocked in a window that ended
// during the run may have got a mail, if it was sent in time.
func TestCheckKnowsThatWindowsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		used  int64
		end   time.Time
		mails int
		wrong bool
	}{
		"a mail before the end": {5, noon, 2, false},
		"the end came first":    {5, noon, 1, false},
		"two of them":           {5, noon, 3, true},
		"not blocked in it":     {3, noon, 2, true},
		"it ended long ago":     {5, noon.Add(-time.Hour), 2, true},
	} {
		sent, o := quiet()
		o.Windows = append(o.Windows, records.Window{Customer: "acme", Feature: "api", Start: c.end.AddDate(0, 0, -30), End: c.end, Used: events.Count(c.used)})
		o.Mails = nil
		for i := range c.mails {
			o.Mails = append(o.Mails, Mail{Key: strconv.Itoa(i), To: "acme@example.com"})
		}
		found := Check(testGates, testCustomers, sent, o)
		if wrong := slices.ContainsFunc(found, func(d Difference) bool { return d.What == "mails" }); wrong != c.wrong {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func find(windows []records.Window, feature string) *records.Window {
	return &windows[slices.IndexFunc(windows, func(w records.Window) bool { return w.Feature == feature })]
}

func unstore(o *Observed, id string) {
	o.Stored = slices.DeleteFunc(o.Stored, func(c Copy) bool { return c.ID == id })
}

// TestCheckFinds breaks one guarantee of the run without errors at a time.
func TestCheckFinds(t *testing.T) {
	for name, c := range map[string]struct {
		what  string
		spoil func(sent []Sent, o *Observed)
	}{
		"half of one lost":                          {"window", func(_ []Sent, o *Observed) { find(o.Windows, "tokens").Used.Nanos -= 5e8 }},
		"a window that begins a millisecond before": {"window", func(_ []Sent, o *Observed) { w := find(o.Windows, "api"); w.Start = w.Start.Add(-time.Millisecond) }},
		"a member counted twice":                    {"window", func(_ []Sent, o *Observed) { find(o.Windows, "seats").Used = events.Count(3) }},
		"a window that is missing":                  {"window", func(_ []Sent, o *Observed) { o.Windows = o.Windows[1:] }},
		"a window of nobody":                        {"window", func(_ []Sent, o *Observed) { o.Windows[0].Customer = "nobody" }},
		"a document behind":                         {"document", func(_ []Sent, o *Observed) { o.Documents[0].Used = events.Count(2) }},
		"one that is counted but not stored":        {"window", func(_ []Sent, o *Observed) { unstore(o, "e-5") }},
		"an acknowledged one that was not stored":   {"acknowledged but not in USAGE", func(_ []Sent, o *Observed) { unstore(o, "e-1") }},
		"one of somebody else":                      {"stored otherwise than sent", func(_ []Sent, o *Observed) { o.Stored[0].Of = "bolt" }},
		"one with a time that nobody claimed":       {"stored otherwise than sent", func(_ []Sent, o *Observed) { o.Stored[0].Time = noon }},
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
		"two mails for one crossing": {"mails", func(_ []Sent, o *Observed) { o.Mails = append(o.Mails, o.Mails[0]) }},
		"a dead letter too many": {"dead letter", func(_ []Sent, o *Observed) {
			o.Dead = append(o.Dead, records.Dead{Origin: "USAGE/1/0", Reason: "x"})
		}},
		"a dead letter that is missing": {"dead letters", func(_ []Sent, o *Observed) { o.Dead = o.Dead[1:] }},
		"a dead letter twice":           {"dead letters", func(_ []Sent, o *Observed) { o.Dead = append(o.Dead, o.Dead[0]) }},
		"a conversion that is missing":  {"conversions", func(_ []Sent, o *Observed) { o.Converted = nil }},
		"a conversion twice":            {"conversions", func(_ []Sent, o *Observed) { o.Converted = append(o.Converted, o.Converted[0]) }},
		"a conversion of nobody": {"conversions", func(_ []Sent, o *Observed) {
			o.Converted = append(o.Converted, records.Conversion{Customer: "nobody"})
		}},
		"a conversion of one who has not paid": {"conversions", func(_ []Sent, o *Observed) {
			o.Converted = append(o.Converted, records.Conversion{Customer: "bolt"})
		}},
		"a conversion by a later payment":  {"conversions", func(_ []Sent, o *Observed) { o.Converted[0].StripeEvent = "evt_9" }},
		"another amount":                   {"conversions", func(_ []Sent, o *Observed) { o.Converted[0].Amount *= 2 }},
		"a conversion that knows no limit": {"conversions", func(_ []Sent, o *Observed) { o.Converted[0].LimitReachedAt = nil }},
		"a limit after the payment": {"conversions", func(_ []Sent, o *Observed) {
			o.Reached[0].ReachedAt = noon.Add(3 * time.Second)
		}},
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
