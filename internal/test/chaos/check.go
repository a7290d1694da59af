package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Aggregate is how a gate aggregates usage.
type Aggregate string

// The aggregates.
const (
	Count  Aggregate = "count"
	Sum    Aggregate = "sum"
	Unique Aggregate = "unique"
)

// Period is the kind of a gate's windows.
type Period string

// The periods.
const (
	Anniversary Period = "30 days from the anchor"
	Rolling     Period = "the last 30 days"
	Day         Period = "day"
	Month       Period = "month"
)

// Gate is a gate of the run's configuration. Its feature is also the type of
// the events that it meters.
type Gate struct {
	Feature   string
	Aggregate Aggregate
	Limit     int64 // of the free plan; the other plan is unlimited
	Period    Period
	Mails     bool
}

// Customer is a customer of the run.
type Customer struct {
	ID     string
	Email  string    // "": no mail can be sent
	Anchor time.Time // zero: the first use
	Paid   bool      // whether the plan has no limits
	// Upgraded reports whether the plan was another one at first: a mail may have
	// been sent.
	Upgraded bool
	Override int64    // of the limit of the feature overridden; 0: none
	Payment  *Payment // that a webhook has reported
}

// Payment is a payment that must become a conversion.
type Payment struct {
	Subscription string
	Event        string // Stripe's
	Amount       int64
	At           time.Time
}

// limit of a customer in a gate.
func (g *Gate) limit(c *Customer) events.Value {
	if c.Override > 0 && g.Feature == overridden {
		return events.Count(c.Override)
	}
	return events.Count(g.Limit)
}

// Put is a decision that was put into the bucket.
type Put struct {
	Seq      uint64
	Key      string
	Decision events.Decision
}

// Mail is a mail that the provider accepted.
type Mail struct{ Key, To string }

// Observed is the state of the installation.
type Observed struct {
	Since     time.Time // the beginning of the run
	Now       time.Time
	Stored    []Copy            // in the order of USAGE
	Windows   []records.Window  // from their owners
	Documents []records.Window  // from the database
	Puts      []Put             // in the order of the stream
	Checks    []events.Decision // of an app's client
	Mails     []Mail            // one per idempotency key
	Wrong     []string          // requests to the mail provider that must not be sent
	Reached   []records.Notification
	Converted []records.Conversion
	Dead      []records.Dead
	Snapshots int // in the logs of all partitions
}

// Difference is a violated guarantee.
type Difference struct {
	What     string // the guarantee
	Customer string
	Feature  string
	Detail   string
}

func (d Difference) String() string {
	return strings.Join([]string{d.What, d.Customer, d.Feature, d.Detail}, " | ")
}

// currency of all payments.
const currency = "usd"

// Check compares the observed state with the state that must follow from the sent
// events, and returns the differences.
func Check(gates []Gate, customers []Customer, sent []Sent, o *Observed) []Difference {
	c := newChecker(gates, customers, o)
	c.stored(sent)
	expected := c.expect(sent)
	c.totals("window", expected, o.Windows)
	c.totals("document", expected, o.Documents)
	c.positions()
	c.decisions()
	c.mails()
	c.conversions()
	c.dead()
	slices.SortStableFunc(c.found, func(a, b Difference) int { return cmp.Compare(a.String(), b.String()) }) // a stable order
	return c.found
}

type checker struct {
	gates     []Gate
	customers map[string]Customer
	anchors   map[string]time.Time // by customer
	copies    map[string][]Copy    // by event id
	o         *Observed
	found     []Difference
}

func newChecker(gates []Gate, customers []Customer, o *Observed) *checker {
	c := &checker{gates: gates, customers: map[string]Customer{}, anchors: map[string]time.Time{}, copies: map[string][]Copy{}, o: o}
	for _, one := range customers {
		c.customers[one.ID] = one
		if !one.Anchor.IsZero() {
			c.anchors[one.ID] = one.Anchor
		}
	}
	for _, copied := range o.Stored {
		c.copies[copied.ID] = append(c.copies[copied.ID], copied)
	}
	return c
}

func (c *checker) differ(what, customer, feature, format string, args ...any) {
	c.found = append(c.found, Difference{what, customer, feature, fmt.Sprintf(format, args...)})
}

// stored finds acknowledged events that are not in the stream, and events in the
// stream that differ from the sent ones.
func (c *checker) stored(sent []Sent) {
	for i := range sent {
		s := &sent[i]
		if s.Outcome == Accepted && len(c.copies[s.ID]) == 0 {
			c.differ("acknowledged but not in USAGE", s.Customer, s.Type, "%s, sent by %s", s.ID, strings.Join(s.Via, ", "))
		}
		for _, copied := range c.copies[s.ID] {
			if copied.Of != s.Customer || copied.Type != s.Type || !s.claims(&copied) {
				c.differ("stored otherwise than sent", s.Customer, s.Type, "%s: %s is %+v", s.ID, copied.Origin, copied)
			}
		}
	}
}

// positions finds decisions whose position is not above the one before.
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

// blocked returns, by customer and feature, whether the windows that contain now
// block.
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

// decisions compares the newest decision of each key with the windows. An absent
// decision allows. An app's client must decide the same.
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

// mails checks that each blocked customer with an address got one mail, and nobody
// else.
func (c *checker) mails() {
	blocked := c.blocked()
	for i := range c.gates {
		g := &c.gates[i]
		if !g.Mails {
			continue
		}
		got := map[string][]string{}
		for _, m := range c.o.Mails {
			got[m.To] = append(got[m.To], m.Key)
		}
		for id, who := range c.customers {
			if who.Email == "" {
				continue
			}
			least, most := 0, c.over(g, &who)
			if blocked[bucket{customer: id, feature: g.Feature}] {
				least, most = 1, most+1
			}
			if who.Upgraded { // may have been blocked before
				most = max(most, 1)
			}
			if n := len(got[who.Email]); n < least || n > most {
				c.differ("mails", id, g.Feature, "%d instead of %d to %d: %s", n, least, most, strings.Join(got[who.Email], ", "))
			}
			delete(got, who.Email)
		}
		for to := range got {
			c.differ("mails", to, g.Feature, "a mail to nobody's address")
		}
	}
}

// over returns in how many windows that ended during the run the customer had reached
// the limit. Each may have caused a mail, if it was sent before the window's end.
func (c *checker) over(g *Gate, who *Customer) (n int) {
	if who.Paid && !who.Upgraded {
		return 0
	}
	for i := range c.o.Windows {
		w := &c.o.Windows[i]
		if w.Customer == who.ID && w.Feature == g.Feature && w.End.After(c.o.Since) && !w.End.After(c.o.Now) && w.Used.Cmp(g.limit(who)) >= 0 {
			n++
		}
	}
	return n
}

// dead checks that the dead letters are the copies that are too old or too new.
func (c *checker) dead() {
	letters := map[string]int{}
	for _, d := range c.o.Dead {
		letters[d.Origin]++
	}
	for i := range c.o.Stored {
		copied := &c.o.Stored[i]
		if copied.valid() {
			continue
		}
		if n := letters[copied.Origin]; n != 1 {
			c.differ("dead letters", copied.Of, copied.Type, "%d instead of 1 for %s (%s), of %s, stored at %s", n, copied.Origin, copied.ID,
				copied.happened().Format(time.RFC3339Nano), copied.At.Format(time.RFC3339Nano))
		}
		delete(letters, copied.Origin)
	}
	for _, d := range c.o.Dead {
		if letters[d.Origin] > 0 {
			c.differ("dead letter", "", "", "%s: %s: %.120s", d.Origin, d.Reason, d.Body)
		}
	}
}
