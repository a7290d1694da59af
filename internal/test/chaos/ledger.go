package chaos

import (
	"slices"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Source is the source of all events of a run.
const Source = "chaos"

// Event is one use that the run sends.
type Event struct {
	ID       string
	Customer string
	Type     string
	Time     time.Time    // zero: the time at which it is stored
	Amount   events.Value // of a sum; zero: the event has none
	Member   string       // of a unique count; "": the event has none
}

// Outcome is what the sender knows about an event.
type Outcome int

// The outcomes. A later one replaces an earlier one.
const (
	Unknown  Outcome = iota // sent without an answer: it may count once or not at all
	Accepted                // acknowledged: it counts once
)

// Sent is a sent event with its outcome.
type Sent struct {
	Event
	Outcome Outcome
	Times   int         // how often it was sent
	Via     []string    // over which interfaces
	Claimed []time.Time // the times in the sent events
}

// claims reports whether a copy has a time that was sent. The client adds a time to an
// event without one when it can't deliver it soon.
func (s *Sent) claims(c *Copy) bool {
	if slices.ContainsFunc(s.Claimed, c.Time.Equal) {
		return true
	}
	return slices.Contains(s.Via, "client") && slices.ContainsFunc(s.Claimed, time.Time.IsZero) &&
		!c.Time.After(c.At) && c.At.Sub(c.Time) < 10*time.Minute
}

// Ledger records the sent events. It is safe for concurrent use.
type Ledger struct {
	mu   sync.Mutex
	sent map[string]*Sent // by id
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{sent: map[string]*Sent{}} }

// Send records that events are about to be sent over an interface.
func (l *Ledger) Send(via string, list ...Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range list {
		s := l.sent[e.ID]
		if s == nil {
			s = &Sent{Event: e}
			l.sent[e.ID] = s
		}
		s.Times++
		s.Via = append(s.Via, via)
		if !slices.ContainsFunc(s.Claimed, e.Time.Equal) {
			s.Claimed = append(s.Claimed, e.Time)
		}
	}
}

// Accept records that events were acknowledged.
func (l *Ledger) Accept(list ...Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range list {
		l.sent[e.ID].Outcome = Accepted
	}
}

// All returns a copy of all sent events, ordered by id.
func (l *Ledger) All() []Sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Sent, 0, len(l.sent))
	for _, s := range l.sent {
		c := *s
		c.Via, c.Claimed = slices.Clone(s.Via), slices.Clone(s.Claimed)
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Sent) int { return cmpID(a.ID, b.ID) })
	return all
}

func cmpID(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b) // e-9 before e-10
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
