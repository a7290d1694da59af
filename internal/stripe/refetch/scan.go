package refetch

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

const (
	// retention is how far back Stripe lists events, less a margin.
	retention = 30*24*time.Hour - time.Hour
	// overlap is the part of the last scan that is scanned again, because Stripe may
	// list an event a little late.
	overlap = 10 * time.Minute
)

// scan reads Stripe's list of events page by page, newest first.
type scan struct {
	since  time.Time
	after  string    // id of the last event read
	upTo   time.Time // when the scan began, by Stripe's clock
	seen   int
	asking bool
	pages  chan pageOrError
}

type pageOrError struct {
	api.Page
	err error
}

// reconcile starts a scan when it is due, and continues it. It publishes all
// events that Stripe lists; BILLING drops those that it already has, by their
// message ids.
func (p *Processor) reconcile(now time.Time) {
	if p.scan == nil && !p.beginScan(now) {
		return
	}
	l := p.scan
	select {
	case page := <-l.pages:
		l.asking = false
		switch {
		case page.err != nil:
			p.scanning.failed(page.err, now, p.log)
			if errors.Is(page.err, api.ErrRequest) {
				l.after = "" // Stripe no longer lists that event
			}
		case p.takePage(page.Page):
			p.endScan()
			return
		}
	default:
	}
	if l.asking || p.scanning.paused(now) {
		return
	}
	l.asking = true
	go func(since time.Time, after string) {
		page, err := guard.Value(func() (api.Page, error) { return p.opt.Stripe.Events(p.ctx, since, after) })
		l.pages <- pageOrError{page, err}
	}(l.since, l.after)
}

// nextScan returns when reconcile has something to do; zero means never.
func (p *Processor) nextScan(now time.Time) time.Time {
	switch every := p.opt.Reconcile(); {
	case p.scan != nil && p.scan.asking:
		return now.Add(poll)
	case p.scan != nil:
		return p.scanning.until
	case every > 0:
		return p.state.Reconciled.Add(every)
	}
	return time.Time{}
}

func (p *Processor) beginScan(now time.Time) bool {
	every := p.opt.Reconcile()
	if every <= 0 || now.Before(p.state.Reconciled.Add(every)) {
		return false
	}
	since := p.state.Reconciled.Add(-overlap)
	if oldest := now.Add(-retention); since.Before(oldest) {
		since = oldest
	}
	p.scan = &scan{since: since, pages: make(chan pageOrError, 1)}
	return true
}

// takePage queues the events of a page, and reports whether it was the last.
func (p *Processor) takePage(page api.Page) bool {
	p.scanning.succeeded(p.log)
	l := p.scan
	if l.upTo.IsZero() {
		l.upTo = page.At
	}
	for _, o := range page.Objects {
		l.after = o.ID
		if l.seen++; len(o.JSON) > maxBody {
			continue // a webhook of this size is refused as well
		}
		m := nats.NewMsg(p.names.Billing(string(fold.KindStripe)))
		m.Data = o.JSON
		m.Header.Set(jetstream.MsgIDHeader, fold.MessageID(o.ID))
		m.Header.Set(foundHeader, "1")
		p.queue = append(p.queue, m)
	}
	return !page.More
}

func (p *Processor) endScan() {
	l := p.scan
	p.scan = nil
	p.state.Reconciled = l.upTo
	p.dirty.head = true
	p.log.Debug("events at stripe were compared", "events", l.seen, "since", l.since)
}

// StatusQuestion asks how fetching from Stripe goes.
var StatusQuestion = stream.Question[stream.None, Status]{Role: stream.RoleStripe, Kind: "status", Fresh: true}

// Status says how fetching from Stripe goes.
type Status struct {
	Pending     int       `json:"pending"`             // objects to fetch
	Reconciled  time.Time `json:"reconciled,omitzero"` // BILLING has all of Stripe's events up to this moment
	Reconciling bool      `json:"reconciling"`         // whether a scan runs
	Error       string    `json:"error,omitempty"`     // why fetching pauses
}

func (p *Processor) status(stream.None) (Status, error) {
	s := Status{Pending: p.jobs.len(), Reconciled: p.state.Reconciled, Reconciling: p.scan != nil}
	if err := errors.Join(p.fetching.err, p.scanning.err); err != nil {
		s.Error = err.Error()
	}
	return s, nil
}
