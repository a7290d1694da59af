package notifier

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// The inputs by index in Spec.Inputs.
const (
	inputLimits  = 0
	inputAccount = 1
)

// Spec returns the notifier's only partition, for all customers.
func Spec(n events.Names) stream.Spec {
	return stream.Spec{Role: stream.RoleNotifier, Inputs: []stream.Input{
		inputLimits:  {Stream: events.StreamLimits, Filters: []string{n.Subject("limits.*")}},
		inputAccount: {Stream: events.StreamAccount, Filters: n.AccountOf("*")},
	}}
}

// Processor is the notifier. It implements stream.Processor; New makes it.
type Processor struct {
	Options // as given to New; live holds the current settings
	live    atomic.Pointer[live]

	ctx    context.Context // ends with the ownership; Handle calls the store with it
	log    *slog.Logger
	report reporter

	recovered time.Time // crossings up to then may have been mailed; see stream.Owner

	started   chan struct{} // closed when ctx and log are set
	woken     chan struct{} // has an element when a mail may be due
	lookAgain atomic.Bool   // the settings may name new places to look addresses up

	noLookupBefore time.Time     // no lookup of addresses before then; only the sending goroutine uses it
	setbacks       setbacks      // likewise
	stopped        chan struct{} // closed when the sending goroutine has ended

	lastStatus atomic.Pointer[Status]

	// mu guards the fields below and every change of a stored document, from reading
	// it to writing it.
	mu      sync.Mutex
	facts   facts
	changes changes
	parking parking
	pause   pause
	behind  map[string]time.Time // by key: when the decision was first seen not to know of the crossing
}

// reporter is what the notifier needs of its *stream.Owner.
type reporter interface {
	RejectDocument(collection, id string, doc any, why error)
	Failed(doing string, err error)
}

// Start implements stream.Processor. It starts the sending goroutine, which ends
// with ctx.
func (p *Processor) Start(ctx context.Context, o *stream.Owner) error {
	p.ctx, p.log, p.recovered = ctx, o.Log, o.Recovered
	if p.report == nil {
		p.report = o
	}
	close(p.started)
	stream.Answer(o, StatusQuestion, func(stream.None) (Status, error) { return p.currentStatus(), nil })
	go func() {
		defer close(p.stopped)
		p.sendAll(ctx)
	}()
	return nil
}

// Handle implements stream.Processor. It waits for the store as long as it takes,
// because the position must not pass a record whose document is not stored.
func (p *Processor) Handle(m *stream.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Input {
	case inputLimits:
		var l records.Limit
		if err := json.Unmarshal(m.Data, &l); err != nil {
			return p.reject(m, err)
		}
		return p.applyLimit(m, &l)
	case inputAccount:
		a, err := records.DecodeAccount(m.Subject, m.Data, p.Partitions)
		if err != nil {
			return nil // the enforcer writes its dead letter
		}
		return p.applyAccount(m, &a)
	}
	return fmt.Errorf("notifier has no input %d", m.Input)
}

func (p *Processor) reject(m *stream.Message, why error) error {
	p.log.Warn("record_rejected", "subject", m.Subject, "sequence", m.Seq, "reason", why)
	return stream.Reject(why)
}

// Flush implements stream.Processor.
func (p *Processor) Flush() error { return nil }

const (
	// tickEvery bounds how long changes by the sending goroutine wait for a commit.
	tickEvery = 10 * time.Second
	// keepBody is how long the bytes of a mail are kept after it was sent.
	keepBody = 30 * 24 * time.Hour
	// dropAtOnce bounds the documents that one tick looks at.
	dropAtOnce = 50
)

// Tick implements stream.Processor.
func (p *Processor) Tick(now time.Time) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.parking.ready {
		if err := p.update(key, func(n *records.Notification) bool {
			if n.State != records.MailPending {
				return false
			}
			n.State = records.MailParked
			return true
		}); p.unlessRefused(key, err) != nil {
			return time.Time{}, err
		}
	}
	p.parking.ready = nil
	for range dropAtOnce {
		k, ok := p.takeKept(now)
		if !ok {
			break
		}
		if err := p.tidy(k.Key, now); p.unlessRefused(k.Key, err) != nil {
			return time.Time{}, err
		}
	}
	switch {
	case p.parking.pending():
		return now.Add(time.Second), nil
	case len(p.facts.Kept) > 0 && !p.facts.Kept[0].At.After(now):
		return now, nil
	}
	return now.Add(tickEvery), nil
}

// tidy drops the bytes of a mail that was sent long ago, and cancels a mail that
// waited for an address until the end of its window.
func (p *Processor) tidy(key string, now time.Time) error {
	var owner string
	again := time.Time{}
	err := p.update(key, func(n *records.Notification) bool {
		switch n.State {
		case records.MailPending, records.MailParked:
			again = now.Add(24 * time.Hour)
			return false
		case records.MailWaiting:
			if n.WindowEnd.After(now) {
				again = n.WindowEnd
				return false
			}
			owner = n.Customer
			cancel(n, "no address came until the window was over")
			return true
		}
		if n.SentAt != nil && now.Before(n.SentAt.Add(keepBody)) {
			again = n.SentAt.Add(keepBody)
			return false
		}
		had := n.Body != nil
		n.Body = nil
		return had
	})
	if err != nil {
		return err
	}
	if !again.IsZero() {
		p.keep(key, again)
	}
	if owner != "" {
		p.forgetWaiting(owner, key)
	}
	return nil
}

// StatusQuestion asks the notifier for its Status.
var StatusQuestion = stream.Question[stream.None, Status]{Role: stream.RoleNotifier, Kind: "status"}

// Status describes the sending of mails.
type Status struct {
	PausedUntil *time.Time `json:"paused_until,omitempty"` // until then nothing is sent; nil: not paused
	PausedFor   string     `json:"paused_for,omitempty"`
	Parked      int        `json:"parked"`
	Waiting     int        `json:"waiting"` // mails without an address
}

// Status returns the status; ok is false while this process does not send. It is
// safe for concurrent use.
func (p *Processor) Status() (s Status, ok bool) {
	select {
	case <-p.started:
	default:
		return s, false
	}
	if p.ctx.Err() != nil {
		return s, false
	}
	return p.currentStatus(), true
}

// currentStatus returns the status, or while the lock is held for a call of the
// store, which may be away, the last one it returned.
func (p *Processor) currentStatus() Status {
	if p.mu.TryLock() {
		s := p.status()
		p.mu.Unlock()
		p.lastStatus.Store(&s)
		return s
	}
	if s := p.lastStatus.Load(); s != nil {
		return *s
	}
	return Status{}
}

func (p *Processor) status() Status {
	s := Status{Parked: len(p.facts.Parked)}
	if p.pause.until.After(p.Now()) {
		until := p.pause.until
		s.PausedUntil, s.PausedFor = &until, p.pause.reason
	}
	for _, c := range p.facts.Customers {
		s.Waiting += len(c.Waiting)
	}
	return s
}
