package fold

import (
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Figures are counts of what an operator should see to.
type Figures struct {
	Unmapped int // Stripe customers that have bought something and are nobody's
	Prices   int // prices in force that lead to no plan
}

// Figures are the newest; false while the processor owns nothing. It is safe to
// call at any time from any goroutine.
func (p *Processor) Figures() (Figures, bool) {
	f := p.figures.Load()
	if f == nil || p.ended.Load() {
		return Figures{}, false
	}
	return *f, true
}

func (p *Processor) figure() {
	f := Figures{Unmapped: len(p.state.nobodys), Prices: len(p.state.unknowns)}
	if old := p.figures.Load(); old == nil || *old != f {
		p.figures.Store(&f)
	}
}

// Thin are the thin events that came: without a key for Stripe's API nothing
// comes of them.
type Thin struct {
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"` // when it was stored
}

// Report is what an operator should see to.
type Report struct {
	Customers []Unmapped     `json:"customers"` // a page of them
	Total     int            `json:"total"`
	Next      string         `json:"next,omitempty"` // ask for those after it
	Prices    []UnknownPrice `json:"prices"`
	Thin      *Thin          `json:"thin_events,omitempty"`
}

// maxReported bounds an answer, which must fit into a message.
const (
	maxReported = 1000
	maxPrices   = 100
)

// Report lists Stripe customers behind the one given.
func (s *State) Report(after string, limit int) Report {
	list, more := s.Unmapped(after, min(max(limit, 1), maxReported))
	r := Report{Customers: list, Total: len(s.nobodys), Prices: s.UnknownPrices()}
	r.Prices = r.Prices[:min(len(r.Prices), maxPrices)]
	if more {
		r.Next = list[len(list)-1].StripeCustomer
	}
	if t := s.facts.Thin; t.Count > 0 {
		r.Thin = &t
	}
	return r
}

// What the owner of the fold is asked.
var (
	// SubscriptionQuestion asks what a customer pays for, by the customer's id.
	SubscriptionQuestion = stream.Question[string, Paying]{Role: stream.RoleBilling, Kind: "subscription", Fresh: true}
	// ReportQuestion asks what an operator should see to, with a page of Stripe
	// customers.
	ReportQuestion = stream.Question[Page, Report]{Role: stream.RoleBilling, Kind: "report", Fresh: true}
	// CompareQuestion asks how objects differ from what is known of them; those
	// that do not differ are left out.
	CompareQuestion = stream.Question[[]Fetched, []Drift]{Role: stream.RoleBilling, Kind: "compare", Fresh: true}
	// OpenQuestion asks for a page of the ids of open subscriptions. When there are
	// Limit, ask for those after the last.
	OpenQuestion = stream.Question[Page, []string]{Role: stream.RoleBilling, Kind: "open", Fresh: true}
)

// Page is a part of a list by id.
type Page struct {
	After string `json:"after,omitempty"` // "": from the beginning
	Limit int    `json:"limit"`
}

// Paying is the answer to SubscriptionQuestion.
type Paying struct {
	Subscription *records.Subscription `json:"subscription,omitempty"` // nil: nothing is known of the customer
	Payments     []records.Payment     `json:"payments,omitempty"`
	Refunds      []records.Refund      `json:"refunds,omitempty"`
}

func (p *Processor) answer(o *stream.Owner) {
	stream.Answer(o, SubscriptionQuestion, p.subscriptionOf)
	stream.Answer(o, ReportQuestion, func(page Page) (Report, error) { return p.state.Report(page.After, page.Limit), nil })
	stream.Answer(o, CompareQuestion, p.compare)
	stream.Answer(o, OpenQuestion, func(page Page) ([]string, error) { return p.state.Open(page.After, max(page.Limit, 1)), nil })
}

func (p *Processor) subscriptionOf(customer string) (a Paying, _ error) {
	if doc, ok := p.state.Subscription(customer); ok {
		a = Paying{Subscription: &doc, Payments: p.state.Payments(customer), Refunds: p.state.Refunds(customer)}
	}
	return a, nil
}

func (p *Processor) compare(objects []Fetched) (drifts []Drift, _ error) {
	for i := range objects {
		if d, differs := p.state.Compare(&objects[i]); differs {
			drifts = append(drifts, d)
		}
	}
	return drifts, nil
}
