// Package funnel counts the steps of customers from a reached limit to a paid plan:
// reached, mailed, delivered, clicked, converted. The gateway and the command `tidegate
// funnel` call it. Its functions are pure.
package funnel

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// Row is one row of the funnel. The steps count customers, each customer once.
type Row struct {
	Key       string `json:"key,omitempty"` // plan, feature or ISO week (2026-W05); "" for all
	Reached   int    `json:"reached"`
	Mailed    int    `json:"mailed"`
	Delivered int    `json:"delivered"`
	Clicked   int    `json:"clicked"`
	// Converted counts the customers who reached a limit and paid later. They may
	// have reached it before the period.
	Converted int `json:"converted"`
	// Seconds from the limit to the customer's first payment in the row; null when
	// no customer converted.
	MedianSeconds *int64 `json:"median_seconds_to_convert"`
	P90Seconds    *int64 `json:"p90_seconds_to_convert"`
	// Amounts is the sum of all such payments by currency, in its smallest unit.
	Amounts map[string]int64 `json:"amounts"`
}

// The groupings.
const (
	ByPlan    = "plan"    // the customer's plan before the payment
	ByFeature = "feature" // the feature whose limit was reached
	ByWeek    = "week"    // the week of the limit; for conversions, of the payment
)

// Funnel counts notifications by when the limit was reached, and conversions by when
// they happened, both within [from, to); a zero time is no bound. It ignores other
// moves of customers. Without by it returns one row, else a row for each key, ordered
// by key.
func Funnel(from, to time.Time, by string, notifications []records.Notification, conversions []records.Conversion) []Row {
	groups := map[string]*group{}
	if by == "" {
		groups[""] = newGroup()
	}
	at := func(key string) *group {
		g := groups[key]
		if g == nil {
			g = newGroup()
			groups[key] = g
		}
		return g
	}
	for i := range notifications {
		n := &notifications[i]
		if n.Kind == records.LimitKindReached && records.Within(n.ReachedAt, from, to) {
			at(key(by, n.Plan, n.Feature, n.ReachedAt)).notification(n)
		}
	}
	for i := range conversions {
		c := &conversions[i]
		if c.Kind == records.MoveConversion && c.LimitReachedAt != nil && records.Within(c.ConvertedAt, from, to) {
			at(key(by, c.FromPlan, c.Feature, c.ConvertedAt)).conversion(c)
		}
	}
	rows := make([]Row, 0, len(groups))
	for _, k := range slices.Sorted(maps.Keys(groups)) {
		rows = append(rows, groups[k].row(k))
	}
	return rows
}

// Answer returns the answer of GET /v1/funnel: one row without by, else a list of rows.
func Answer(from, to time.Time, by string, notifications []records.Notification, conversions []records.Conversion) any {
	rows := Funnel(from, to, by, notifications, conversions)
	if by == "" {
		return rows[0]
	}
	return rows
}

func key(by, plan, feature string, at time.Time) string {
	switch by {
	case ByPlan:
		return plan
	case ByFeature:
		return feature
	case ByWeek:
		year, week := at.UTC().ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week)
	}
	return ""
}

type set map[string]struct{}

func (s set) add(customer string, yes bool) {
	if yes {
		s[customer] = struct{}{}
	}
}

// group collects the figures of a row.
type group struct {
	reached, mailed, delivered, clicked set
	first                               map[string]*records.Conversion // by customer
	amounts                             map[string]int64
}

func newGroup() *group {
	return &group{reached: set{}, mailed: set{}, delivered: set{}, clicked: set{},
		first: map[string]*records.Conversion{}, amounts: map[string]int64{}}
}

func (g *group) notification(n *records.Notification) {
	g.reached.add(n.Customer, true)
	g.mailed.add(n.Customer, n.Mailed())
	g.delivered.add(n.Customer, n.DeliveredAt != nil)
	g.clicked.add(n.Customer, n.ClickedAt != nil)
}

func (g *group) conversion(c *records.Conversion) {
	g.amounts[c.Currency] += c.Amount
	if f := g.first[c.Customer]; f == nil || c.ConvertedAt.Before(f.ConvertedAt) {
		g.first[c.Customer] = c
	}
}

func (g *group) row(key string) Row {
	r := Row{Key: key, Reached: len(g.reached), Mailed: len(g.mailed), Delivered: len(g.delivered),
		Clicked: len(g.clicked), Converted: len(g.first), Amounts: g.amounts}
	if len(g.first) == 0 {
		return r
	}
	seconds := make([]int64, 0, len(g.first))
	for _, c := range g.first {
		// Stripe's clock has whole seconds: a payment may seem to be before the limit.
		seconds = append(seconds, max(0, int64(c.ConvertedAt.Sub(*c.LimitReachedAt)/time.Second)))
	}
	slices.Sort(seconds)
	n := len(seconds)
	median := seconds[n/2]
	if n%2 == 0 {
		median = seconds[n/2-1] + (seconds[n/2]-seconds[n/2-1])/2
	}
	p90 := seconds[(n*9+9)/10-1] // nearest rank
	r.MedianSeconds, r.P90Seconds = &median, &p90
	return r
}
