package fold

import (
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Figures count what an operator should take care of.
type Figures struct {
	Unmapped int // Stripe customers that have bought something and are not mapped
	Prices   int // prices in force that lead to no plan
}

// Figures returns the newest figures, or false while the processor owns nothing.
// It is safe for concurrent use.
func (p *Processor) Figures() (Figures, bool) {
	f := p.figures.Load()
	if f == nil || p.ended.Load() {
		return Figures{}, false
	}
	return *f, true
}

func (p *Processor) setFigures() {
	f := Figures{Unmapped: len(p.state.unmapped), Prices: len(p.state.unknownPrices)}
	if old := p.figures.Load(); old == nil || *old != f {
		p.figures.Store(&f)
	}
}

// Thin counts the thin events. Without a key for Stripe's API they have no effect.
type Thin struct {
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"` // when the last one was stored
}

// Report lists what an operator should take care of.
type Report struct {
	Customers []Unmapped     `json:"customers"` // a page of them
	Total     int            `json:"total"`
	Next      string         `json:"next,omitempty"` // After of the next page; "" on the last one
	Prices    []UnknownPrice `json:"prices"`
	Thin      *Thin          `json:"thin_events,omitempty"`
}

// Bounds of a Report, which must fit into a message.
const (
	maxReported = 1000
	maxPrices   = 100
)

// Report returns a page of unmapped Stripe customers after the given id, with at
// most limit of them, and the unknown prices.
func (s *State) Report(after string, limit int) Report {
	list, more := s.Unmapped(after, min(max(limit, 1), maxReported))
	r := Report{Customers: list, Total: len(s.unmapped), Prices: s.UnknownPrices()}
	r.Prices = r.Prices[:min(len(r.Prices), maxPrices)]
	if more {
		r.Next = list[len(list)-1].StripeCustomer
	}
	if t := s.facts.Thin; t.Count > 0 {
		r.Thin = &t
	}
	return r
}

// The questions to the owner of the fold.
var (
	// SubscriptionQuestion asks what a customer pays for, by the customer's id.
	SubscriptionQuestion = stream.Question[string, Paying]{Role: stream.RoleBilling, Kind: "subscription", Fresh: true}
	// ReportQuestion asks what an operator should take care of, with a page of
	// unmapped Stripe customers.
	ReportQuestion = stream.Question[Page, Report]{Role: stream.RoleBilling, Kind: "report", Fresh: true}
	// CompareQuestion asks how objects differ from the facts. The answer leaves out
	// objects that do not differ.
	CompareQuestion = stream.Question[[]Fetched, []Drift]{Role: stream.RoleBilling, Kind: "compare", Fresh: true}
	// OpenQuestion asks for a page of the ids of open subscriptions. When the answer
	// has Limit ids, there may be more after the last.
	OpenQuestion = stream.Question[Page, []string]{Role: stream.RoleBilling, Kind: "open", Fresh: true}
)

// Page is a part of a list that is ordered by id.
type Page struct {
	After string `json:"after,omitempty"` // "" is the beginning
	Limit int    `json:"limit"`
}

// Paying is the answer to SubscriptionQuestion.
type Paying struct {
	Subscription *records.Subscription `json:"subscription,omitempty"` // nil: no fact is about the customer
	Payments     []records.Payment     `json:"payments,omitempty"`
	Refunds      []records.Refund      `json:"refunds,omitempty"`
}

func (p *Processor) answer(o *stream.Owner) {
	stream.Answer(o, SubscriptionQuestion, p.subscriptionOf)
	stream.Answer(o, ReportQuestion, func(page Page) (Report, error) { return p.state.Report(page.After, page.Limit), nil })
	stream.Answer(o, ClaimsQuestion, func(ids []string) (map[string]Claim, error) { return p.state.Claims(ids), nil })
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
