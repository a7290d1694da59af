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

// Spec is the partition that the notifier runs as: one for all customers.
func Spec(n events.Names) stream.Spec {
	return stream.Spec{Role: stream.RoleNotifier, Inputs: []stream.Input{
		inputLimits:  {Stream: events.StreamLimits, Filter: n.Subject("limits.*")},
		inputAccount: {Stream: events.StreamAccount, Filter: n.Subject("account.*")},
	}}
}

// Processor is the notifier. Make it with New.
type Processor struct {
	Options // as at the start; live is in force
	live    atomic.Pointer[live]

	ctx context.Context // of the ownership; for the store, which Handle waits for
	o   *stream.Owner
	log *slog.Logger

	started chan struct{} // closed when what stands above is set
	kick    chan struct{} // something may be due
	seek    atomic.Bool   // there may be new places to look for addresses

	blindUntil time.Time     // no addresses are looked up before; of the sending goroutine
	stopped    chan struct{} // closed when the sending goroutine has ended

	// mu guards what follows, and every change of a stored document: read,
	// change and write under it.
	lastSeen atomic.Pointer[Status]

	mu      sync.Mutex
	facts   facts
	changes changes
	parking parking
	pause   pause
	behind  map[string]time.Time // by key: since when the decision lacks the crossing
}

// Start implements stream.Processor. It starts the sending goroutine, which
// ends with ctx.
func (p *Processor) Start(ctx context.Context, o *stream.Owner) error {
	p.ctx, p.o, p.log = ctx, o, o.Log
	close(p.started)
	stream.Answer(o, StatusQuestion, func(stream.None) (Status, error) { return p.seen(), nil })
	go func() {
		defer close(p.stopped)
		p.sendAll(ctx)
	}()
	return nil
}

// Handle implements stream.Processor. It waits for the store as long as it
// takes: the position must not pass a record whose document is not stored.
func (p *Processor) Handle(m *stream.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Input {
	case inputLimits:
		var l records.Limit
		if err := json.Unmarshal(m.Data, &l); err != nil {
			return p.reject(m, err)
		}
		return p.limit(m, &l)
	case inputAccount:
		var a records.Account
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return p.reject(m, err)
		}
		return p.account(m, &a)
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
	// tickEvery bounds how long the sending goroutine's changes wait for a commit.
	tickEvery = 10 * time.Second
	// keepBody is how long a mail's bytes are kept after it was sent.
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
		}); err != nil {
			return time.Time{}, err
		}
	}
	p.parking.ready = nil
	for range dropAtOnce {
		k, ok := p.takeKept(now)
		if !ok {
			break
		}
		if err := p.tidy(k.Key, now); err != nil {
			return time.Time{}, err
		}
	}
	switch {
	case p.parking.waits():
		return now.Add(time.Second), nil
	case len(p.facts.Kept) > 0 && !p.facts.Kept[0].At.After(now):
		return now, nil
	}
	return now.Add(tickEvery), nil
}

// tidy drops the bytes of a mail that was sent long ago, and gives up one that
// waited for an address until its window was over.
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

// StatusQuestion asks the notifier how sending stands.
var StatusQuestion = stream.Question[stream.None, Status]{Role: stream.RoleNotifier, Kind: "status"}

// Status says how sending stands.
type Status struct {
	PausedUntil *time.Time `json:"paused_until,omitempty"` // the provider refuses all mail
	PausedFor   string     `json:"paused_for,omitempty"`
	Parked      int        `json:"parked"`
	Waiting     int        `json:"waiting"` // without an address
}

// Status is how sending stands; ok is false while another process, or none,
// sends. It is safe to call at any time from any goroutine.
func (p *Processor) Status() (s Status, ok bool) {
	select {
	case <-p.started:
	default:
		return s, false
	}
	if p.ctx.Err() != nil {
		return s, false
	}
	return p.seen(), true
}

// seen is the status now, or while the store is asked, which may be away, the
// last one that was seen.
func (p *Processor) seen() Status {
	if p.mu.TryLock() {
		s := p.status()
		p.mu.Unlock()
		p.lastSeen.Store(&s)
		return s
	}
	if s := p.lastSeen.Load(); s != nil {
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
