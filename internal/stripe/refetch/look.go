package refetch

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

const (
	// keeps is how far back Stripe lists events, less a margin.
	keeps = 30*24*time.Hour - time.Hour
	// overlap is how much of what was looked at is looked at again: an event
	// may be listed a little late.
	overlap = 10 * time.Minute
)

// look goes through Stripe's events, newest first, a page at a time.
type look struct {
	since  time.Time
	after  string    // id of the last event seen
	upTo   time.Time // when it began, by Stripe's clock
	seen   int
	asking bool
	pages  chan pageOrError
}

type pageOrError struct {
	api.Page
	err error
}

// reconcile has the events at Stripe compared with those in BILLING when it is
// time: all are published again, and those that are there already are dropped
// by their id.
func (p *Processor) reconcile(now time.Time) {
	if p.look == nil && !p.beginLook(now) {
		return
	}
	l := p.look
	select {
	case page := <-l.pages:
		l.asking = false
		switch {
		case page.err != nil:
			p.looking.fails(page.err, now, p.log)
			if errors.Is(page.err, api.ErrRequest) {
				l.after = "" // Stripe no longer lists that one
			}
		case p.takePage(page.Page):
			p.endLook()
			return
		}
	default:
	}
	if l.asking || p.looking.paused(now) {
		return
	}
	l.asking = true
	go func(since time.Time, after string) {
		page, err := p.opt.Stripe.Events(p.ctx, since, after)
		l.pages <- pageOrError{page, err}
	}(l.since, l.after)
}

// nextLook is when reconcile has something to do.
func (p *Processor) nextLook(now time.Time) time.Time {
	switch every := p.opt.Reconcile(); {
	case p.look != nil && p.look.asking:
		return now.Add(poll)
	case p.look != nil:
		return p.looking.until
	case every > 0:
		return p.state.Reconciled.Add(every)
	}
	return time.Time{}
}

func (p *Processor) beginLook(now time.Time) bool {
	every := p.opt.Reconcile()
	if every <= 0 || now.Before(p.state.Reconciled.Add(every)) {
		return false
	}
	since := p.state.Reconciled.Add(-overlap)
	if oldest := now.Add(-keeps); since.Before(oldest) {
		since = oldest
	}
	p.look = &look{since: since, pages: make(chan pageOrError, 1)}
	return true
}

// takePage queues the events of a page, and says whether it was the last.
func (p *Processor) takePage(page api.Page) bool {
	p.looking.works(p.log)
	l := p.look
	if l.upTo.IsZero() {
		l.upTo = page.At
	}
	for _, o := range page.Objects {
		l.after = o.ID
		if l.seen++; len(o.JSON) > maxBody {
			continue // no webhook of its size would be taken either
		}
		m := nats.NewMsg(p.names.Billing(string(fold.KindStripe)))
		m.Data = o.JSON
		m.Header.Set(jetstream.MsgIDHeader, fold.MessageID(o.ID))
		m.Header.Set(foundHeader, "1")
		p.queue = append(p.queue, m)
	}
	return !page.More
}

func (p *Processor) endLook() {
	l := p.look
	p.look = nil
	p.state.Reconciled = l.upTo
	p.dirty.head = true
	p.log.Debug("events at stripe were compared", "events", l.seen, "since", l.since)
}

// StatusQuestion asks how fetching from Stripe goes.
var StatusQuestion = stream.Question[stream.None, Status]{Role: stream.RoleStripe, Kind: "status", Fresh: true}

// Status is the answer to StatusQuestion.
type Status struct {
	Pending     int       `json:"pending"`             // objects to ask for
	Reconciled  time.Time `json:"reconciled,omitzero"` // up to here all of Stripe's events are in BILLING
	Reconciling bool      `json:"reconciling"`         // further ones are being looked at
	Error       string    `json:"error,omitempty"`     // why nothing goes on
}

func (p *Processor) status(stream.None) (Status, error) {
	s := Status{Pending: p.jobs.len(), Reconciled: p.state.Reconciled, Reconciling: p.look != nil}
	if err := errors.Join(p.fetching.err, p.looking.err); err != nil {
		s.Error = err.Error()
	}
	return s, nil
}
