package stream

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Trouble counts what a role could not process in this process.
type Trouble struct {
	Role        string    `json:"role"`
	DeadLetters uint64    `json:"dead_letters"`   // that were written
	LostLetters uint64    `json:"lost_letters"`   // that DEAD refused
	Panicked    uint64    `json:"panicked"`       // messages that became dead letters because handling them panicked
	Failures    uint64    `json:"failures"`       // panics and errors for which no message is to blame
	Refused     uint64    `json:"refused"`        // documents that the store will never take, by refusal
	Lost        uint64    `json:"lost"`           // sequences that the role had processed and its inputs have lost
	Forgotten   uint64    `json:"forgotten"`      // fingerprints that SEEN has lost
	Last        string    `json:"last,omitempty"` // the last of these, without data; "": none but dead letters
	LastAt      time.Time `json:"last_at,omitzero"`
}

// ledger counts the troubles of a process. It is safe for concurrent use.
type ledger struct {
	mu    sync.Mutex
	roles map[string]*roleLedger
}

type roleLedger struct {
	mu       sync.Mutex
	trouble  Trouble
	unlogged uint64
	logAt    time.Time
}

func newLedger() *ledger {
	return &ledger{roles: map[string]*roleLedger{}}
}

func (l *ledger) role(name string) *roleLedger {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.roles[name]
	if r == nil {
		r = &roleLedger{trouble: Trouble{Role: name}}
		l.roles[name] = r
	}
	return r
}

func (l *ledger) troubles() []Trouble {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Trouble, 0, len(l.roles))
	for _, r := range l.roles {
		all = append(all, r.read())
	}
	slices.SortFunc(all, func(a, b Trouble) int { return cmp.Compare(a.Role, b.Role) })
	return all
}

func (r *roleLedger) read() Trouble {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

func (r *roleLedger) count(f func(*Trouble), last string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.trouble)
	if last != "" {
		r.trouble.Last, r.trouble.LastAt = last, time.Now().UTC()
	}
}

func (r *roleLedger) letter() { r.count(func(t *Trouble) { t.DeadLetters++ }, "") }
func (r *roleLedger) lost(why error) {
	r.count(func(t *Trouble) { t.LostLetters++ }, "dead letter lost: "+why.Error())
}
func (r *roleLedger) panicked(err error) { r.count(func(t *Trouble) { t.Panicked++ }, err.Error()) }
func (r *roleLedger) fail(err error)     { r.count(func(t *Trouble) { t.Failures++ }, err.Error()) }
func (r *roleLedger) lostSequences(l Loss) {
	r.count(func(t *Trouble) { t.Lost += l.Lost }, fmt.Sprintf("%s has lost %d messages that were processed, after %d", l.Stream, l.Lost, l.Cut))
}
func (r *roleLedger) forgot(n int, from, to time.Time) {
	r.count(func(t *Trouble) { t.Forgotten += uint64(n) }, fmt.Sprintf("SEEN has lost the fingerprints of %d events, stored between %s and %s: repetitions of those count again",
		n, from.Format(time.RFC3339), to.Format(time.RFC3339)))
}
func (r *roleLedger) refused(what string) {
	r.count(func(t *Trouble) { t.Refused++ }, "the store refuses "+what)
}

// logEvery is the least time between two lines in the log about the same trouble.
const logEvery = 10 * time.Second

// throttle adds one. When it is time for a line in the log, it returns how many were
// not logged yet; else 0.
func (r *roleLedger) throttle(now time.Time) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unlogged++
	if now.Before(r.logAt) {
		return 0
	}
	n := r.unlogged
	r.unlogged, r.logAt = 0, now.Add(logEvery)
	return n
}

// Troubles returns what the roles of this process could not process since its start,
// by role.
func (s *Supervisor) Troubles() []Trouble { return s.env.ledger.troubles() }
