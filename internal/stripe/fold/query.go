package fold

import (
	"encoding/json"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
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

// Query is a request to the processor: for a customer, for a report, for how
// objects differ from what is known, or for open subscriptions.
type Query struct {
	Customer string `json:"customer,omitempty"`
	Report   bool   `json:"report,omitempty"`
	After    string `json:"after,omitempty"`
	Limit    int    `json:"limit,omitempty"`

	Compare []Fetched `json:"compare,omitempty"`
	Open    bool      `json:"open,omitempty"`
}

// Answer is what a query gets; Error says why it got nothing.
type Answer struct {
	Subscription *records.Subscription `json:"subscription,omitempty"`
	Payments     []records.Payment     `json:"payments,omitempty"`
	Refunds      []records.Refund      `json:"refunds,omitempty"`
	Report       *Report               `json:"report,omitempty"`
	Drifts       []Drift               `json:"drifts,omitempty"` // of the objects that differ
	Open         []string              `json:"open,omitempty"`   // ids; when there are Limit, ask for those after the last
	Error        string                `json:"error,omitempty"`
}

// Query implements stream.Processor: a Query gets an Answer.
func (p *Processor) Query(request []byte) ([]byte, error) {
	var q Query
	var a Answer
	err := json.Unmarshal(request, &q)
	switch {
	case err != nil:
		a.Error = err.Error()
	case q.Customer != "":
		if doc, ok := p.state.Subscription(q.Customer); ok {
			a.Subscription, a.Payments, a.Refunds = &doc, p.state.Payments(q.Customer), p.state.Refunds(q.Customer)
		}
	case q.Report:
		r := p.state.Report(q.After, q.Limit)
		a.Report = &r
	case q.Open:
		a.Open = p.state.Open(q.After, max(q.Limit, 1))
	case len(q.Compare) > 0:
		for i := range q.Compare {
			if d, differs := p.state.Compare(&q.Compare[i]); differs {
				a.Drifts = append(a.Drifts, d)
			}
		}
	default:
		a.Error = "ask for `customer`, `report`, `compare` or `open`"
	}
	return json.Marshal(a)
}
