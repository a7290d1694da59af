package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Aggregate is how a gate adds up.
type Aggregate string

// The aggregates.
const (
	Count  Aggregate = "count"
	Sum    Aggregate = "sum"
	Unique Aggregate = "unique"
)

// Gate is a gate of the run's configuration. Its feature is also the type of
// the events that it meters.
type Gate struct {
	Feature   string
	Aggregate Aggregate
	Limit     int64 // of the free plan; the other is unlimited
	Daily     bool  // a window is a day of UTC; else all of a run's usage counts together
	Rolling   bool  // counts only what came after the last change of plan
	Mails     bool
}

// Customer is one that the run has made.
type Customer struct {
	ID    string
	Email string // "": no mail can be sent
	Paid  bool   // of the plan without limits
	// Upgraded says that the plan was another at first: a mail may have gone out.
	Upgraded bool
	Override int64 // of the limit of the feature overridden; 0: none
}

// limit of a customer in a gate.
func (g *Gate) limit(c *Customer) events.Value {
	if c.Override > 0 && g.Feature == overridden {
		return events.Count(c.Override)
	}
	return events.Count(g.Limit)
}

// Put is a decision as it was put into the bucket.
type Put struct {
	Seq      uint64
	Key      string
	Decision events.Decision
}

// Mail is a mail that the provider took.
type Mail struct{ Key, To string }

// Observed is what a run finds when all is quiet.
type Observed struct {
	Now       time.Time
	Stored    map[string]int    // by event id: how often it is in USAGE
	Windows   []events.Window   // as their owners say
	Documents []events.Window   // as they are in the database
	Puts      []Put             // in the order of the stream
	Checks    []events.Decision // of an app's client
	Mails     []Mail            // one per idempotency key
	Wrong     []string          // requests to the mail provider that must not come
	Dead      []events.Dead
	Snapshots int // that the logs of all partitions still have
}

// Difference is something that is not as it must be.
type Difference struct {
	What     string // which promise
	Customer string
	Feature  string
	Detail   string
}

func (d Difference) String() string {
	return strings.Join([]string{d.What, d.Customer, d.Feature, d.Detail}, " | ")
}

// Check compares what was found with what the events sent must have led to.
func Check(gates []Gate, customers []Customer, sent []Sent, o *Observed) []Difference {
	c := checker{gates: gates, customers: map[string]Customer{}, o: o}
	for _, one := range customers {
		c.customers[one.ID] = one
	}
	c.stored(sent)
	expected := c.expect(sent)
	c.totals("window", expected, o.Windows)
	c.totals("document", expected, o.Documents)
	c.positions()
	c.decisions()
	c.mails()
	for _, d := range o.Dead {
		c.differ("dead letter", "", "", "%s: %s: %.120s", d.Origin, d.Reason, d.Body)
	}
	return c.found
}

type checker struct {
	gates     []Gate
	customers map[string]Customer
	o         *Observed
	found     []Difference
}

func (c *checker) differ(what, customer, feature, format string, args ...any) {
	c.found = append(c.found, Difference{what, customer, feature, fmt.Sprintf(format, args...)})
}

// stored finds acknowledged events that the stream does not have.
func (c *checker) stored(sent []Sent) {
	for i := range sent {
		s := &sent[i]
		if s.Outcome == Accepted && c.o.Stored[s.ID] == 0 {
			c.differ("acknowledged but not in USAGE", s.Customer, s.Type, "%s, sent by %s", s.ID, strings.Join(s.Via, ", "))
		}
	}
}

// bucket is what events of one feature are added up by.
type bucket struct{ customer, feature, day string }

func (g *Gate) bucket(customer string, t time.Time) bucket {
	b := bucket{customer: customer, feature: g.Feature}
	if g.Daily {
		b.day = t.UTC().Format(time.DateOnly)
	}
	return b
}

// expect adds up what must have been counted: the acknowledged events, and
// those of unknown outcome that were stored.
func (c *checker) expect(sent []Sent) map[bucket]events.Value {
	totals := map[bucket]events.Value{}
	members := map[bucket]map[string]bool{}
	for i := range sent {
		s := &sent[i]
		g := c.gate(s.Type)
		if g == nil || s.Outcome != Accepted && c.o.Stored[s.ID] == 0 {
			continue
		}
		b, amount := g.bucket(s.Customer, s.Time), events.Count(1)
		switch g.Aggregate {
		case Sum:
			amount = s.Amount
		case Unique:
			if members[b] == nil {
				members[b] = map[string]bool{}
			}
			if members[b][s.Member] {
				continue
			}
			members[b][s.Member] = true
		}
		totals[b] = add(totals[b], amount)
	}
	return totals
}

func add(a, b events.Value) events.Value {
	v, err := a.Add(b)
	if err != nil {
		panic(err) // the load sends nothing that large
	}
	return v
}

func (c *checker) gate(feature string) *Gate {
	for i := range c.gates {
		if c.gates[i].Feature == feature {
			return &c.gates[i]
		}
	}
	return nil
}

// totals compares what windows hold with what they must.
func (c *checker) totals(what string, expected map[bucket]events.Value, windows []events.Window) {
	got := map[bucket]events.Value{}
	for i := range windows {
		w := &windows[i]
		g := c.gate(w.Feature)
		if g == nil {
			c.differ(what, w.Customer, w.Feature, "no gate has this feature")
			continue
		}
		b := g.bucket(w.Customer, w.Start)
		got[b] = add(got[b], w.Used)
	}
	for _, b := range keys(expected, got) {
		if g := c.gate(b.feature); c.customers[b.customer].Upgraded && (g.Rolling || g.Aggregate == Unique) {
			continue // a change of plan cuts windows, and these are not the sum of their parts
		}
		if want, have := expected[b], got[b]; want.Cmp(have) != 0 {
			c.differ(what, b.customer, strings.TrimSpace(b.feature+" "+b.day), "holds %s, must hold %s", have, want)
		}
	}
}

func keys(maps ...map[bucket]events.Value) []bucket {
	var all []bucket
	for _, m := range maps {
		for b := range m {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b bucket) int {
		return strings.Compare(a.customer+"/"+a.feature+"/"+a.day, b.customer+"/"+b.feature+"/"+b.day)
	})
	return slices.Compact(all)
}

// positions finds decisions that went back.
func (c *checker) positions() {
	last := map[string]Put{}
	for _, p := range c.o.Puts {
		if before, ok := last[p.Key]; ok && p.Decision.Position < before.Decision.Position {
			c.differ("decision went back", p.Decision.Customer, p.Decision.Feature, "from position %d (message %d) to %d (message %d)",
				before.Decision.Position, before.Seq, p.Decision.Position, p.Seq)
		}
		last[p.Key] = p
	}
}

// blocked says, by customer and feature, what the windows that contain now lead to.
func (c *checker) blocked() map[bucket]bool {
	blocked := map[bucket]bool{}
	for i := range c.o.Windows {
		w := &c.o.Windows[i]
		g := c.gate(w.Feature)
		if g == nil || !w.Start.IsZero() && (c.o.Now.Before(w.Start) || !c.o.Now.Before(w.End)) {
			continue
		}
		b := bucket{customer: w.Customer, feature: w.Feature}
		who := c.customers[w.Customer]
		blocked[b] = !who.Paid && w.Used.Cmp(g.limit(&who)) >= 0
	}
	return blocked
}

// decisions compares the newest of each key with what the windows lead to. An
// absent one allows.
// Apps must see the same.
func (c *checker) decisions() {
	newest := map[bucket]events.Decision{}
	for _, p := range c.o.Puts {
		newest[bucket{customer: p.Decision.Customer, feature: p.Decision.Feature}] = p.Decision
	}
	blocked := c.blocked()
	for i := range c.o.Checks {
		d := &c.o.Checks[i]
		if is := blocked[bucket{customer: d.Customer, feature: d.Feature}]; d.Allowed == is {
			c.differ("check in an app", d.Customer, d.Feature, "allowed is %v, reason %s, position %d", d.Allowed, d.Reason, d.Position)
		}
	}
	for b, blocked := range blocked {
		d, there := newest[b]
		if allowed := !there || d.Allowed; allowed == blocked {
			c.differ("decision", b.customer, b.feature, "allowed is %v (put: %v, used %s, reason %s, position %d)", allowed, there, d.Used.Value, d.Reason, d.Position)
		}
	}
}

// mails: one for each customer with an address who is blocked, and no other.
func (c *checker) mails() {
	for i := range c.gates {
		if !c.gates[i].Mails {
			continue
		}
		got := map[string][]string{}
		for _, m := range c.o.Mails {
			got[m.To] = append(got[m.To], m.Key)
		}
		for b, blocked := range c.blocked() {
			to := c.customers[b.customer].Email
			if b.feature != c.gates[i].Feature || to == "" {
				continue
			}
			want := 0
			if blocked {
				want = 1
			}
			if n := len(got[to]); n != want && (n != 1 || !c.customers[b.customer].Upgraded) {
				c.differ("mails", b.customer, b.feature, "%d instead of %d: %s", n, want, strings.Join(got[to], ", "))
			}
			delete(got, to)
		}
		for _, who := range c.customers {
			if who.Upgraded && len(got[who.Email]) == 1 { // blocked before, and nothing used since
				delete(got, who.Email)
			}
		}
		for to := range got {
			c.differ("mails", to, c.gates[i].Feature, "a mail to someone who has used nothing")
		}
	}
}
