package notifier

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// customer is what mails and conversions need to know of one. It follows from
// the messages alone.
type customer struct {
	Email       string `json:"e,omitempty"` // the app's: it wins
	StripeEmail string `json:"s,omitempty"`
	Locale      string `json:"l,omitempty"`
	Pinned      string `json:"p,omitempty"` // plan set by the operator
	Plan        string `json:"n,omitempty"` // by subscription
	Position    uint64 `json:"b,omitempty"` // in BILLING, of Plan
	Suppressed  string `json:"x,omitempty"` // why no mail may go out
	// Waiting are keys of notifications that had no address when they came.
	Waiting []string `json:"w,omitempty"`
	// Payments are the recent ones: a limit record that comes later than the
	// payment it led to still finds it.
	Payments []records.Payment `json:"c,omitempty"`
}

func (c *customer) address() string {
	if c.Email != "" {
		return c.Email
	}
	return c.StripeEmail
}

func (c *customer) plan() string {
	if c.Pinned != "" {
		return c.Pinned
	}
	return c.Plan
}

// kept is a stored mail whose bytes are to be dropped some day.
type kept struct {
	Key string    `json:"k"`
	At  time.Time `json:"t"` // not before
}

// facts is the state: all of it in a snapshot, the changed customers in a
// commit.
type facts struct {
	Customers map[string]*customer `json:"c"`
	Kept      []kept               `json:"k"` // in a commit: new ones
	Dropped   int                  `json:"d"` // in a commit: so many of the oldest
	// Parked are keys of mails that the provider refuses for now; in a commit
	// all of them, if they changed.
	Parked []string `json:"p"`
	Repark bool     `json:"r,omitempty"` // in a commit: Parked counts
}

// changes since the last commit.
type changes struct {
	customers map[string]bool
	kept      int // of the end of Kept
	dropped   int
	parked    bool
}

func (c *changes) none() bool {
	return len(c.customers) == 0 && c.kept == 0 && c.dropped == 0 && !c.parked
}

// Restore implements stream.Processor.
func (p *Processor) Restore(snapshot []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.facts, p.changes = facts{}, changes{customers: map[string]bool{}}
	if snapshot != nil {
		if err := wire.Unmarshal(snapshot, &p.facts); err != nil {
			return err
		}
	}
	if p.facts.Customers == nil {
		p.facts.Customers = map[string]*customer{}
	}
	return nil
}

// Apply implements stream.Processor.
func (p *Processor) Apply(commit []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var f facts
	if err := wire.Unmarshal(commit, &f); err != nil {
		return err
	}
	for id, c := range f.Customers {
		if c == nil {
			delete(p.facts.Customers, id)
		} else {
			p.facts.Customers[id] = c
		}
	}
	p.facts.Kept = append(p.facts.Kept[min(f.Dropped, len(p.facts.Kept)):], f.Kept...)
	if f.Repark {
		p.facts.Parked = f.Parked
	}
	return nil
}

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parking.committed()
	if p.changes.none() {
		return nil, nil
	}
	f := facts{Dropped: p.changes.dropped, Kept: p.facts.Kept[len(p.facts.Kept)-p.changes.kept:], Customers: map[string]*customer{}}
	if p.changes.parked {
		f.Parked, f.Repark = p.facts.Parked, true
	}
	for id := range p.changes.customers {
		f.Customers[id] = p.facts.Customers[id] // nil: nothing is known any more
	}
	b, err := wire.Marshal(&f)
	if err == nil {
		p.changes = changes{customers: map[string]bool{}}
	}
	return b, err
}

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return wire.Marshal(&p.facts)
}

// known is what is known of a customer, for reading only.
func (p *Processor) known(id string) *customer {
	if c := p.facts.Customers[id]; c != nil {
		return c
	}
	return &customer{}
}

// change is a customer that is about to change.
func (p *Processor) change(id string) *customer {
	c := p.facts.Customers[id]
	if c == nil {
		c = &customer{}
		p.facts.Customers[id] = c
	}
	p.changes.customers[id] = true
	return c
}

// keep takes down that the mail's bytes are to be dropped.
func (p *Processor) keep(key string, at time.Time) {
	p.facts.Kept = append(p.facts.Kept, kept{Key: key, At: at.UTC()})
	p.changes.kept++
}

// takeKept takes the oldest one if it is due.
func (p *Processor) takeKept(now time.Time) (kept, bool) {
	if len(p.facts.Kept) == 0 || p.facts.Kept[0].At.After(now) {
		return kept{}, false
	}
	k := p.facts.Kept[0]
	p.facts.Kept = p.facts.Kept[1:]
	// One that was added since the last commit is in no commit.
	if p.changes.kept > len(p.facts.Kept) {
		p.changes.kept--
	} else {
		p.changes.dropped++
	}
	return k, true
}

// park adds a key to the parked ones; unpark takes all of them.
func (p *Processor) park(key string) {
	if !slices.Contains(p.facts.Parked, key) {
		p.facts.Parked = append(slices.Clone(p.facts.Parked), key)
		p.changes.parked = true
	}
	p.parking.add(key)
}

func (p *Processor) unpark() []string {
	keys := p.facts.Parked
	if len(keys) > 0 {
		p.facts.Parked, p.changes.parked = nil, true
	}
	p.parking = parking{}
	return keys
}

// parking delays the state "parked" of a document until the list of parked
// keys has been committed: a document in that state which is on no list would
// never be sent.
type parking struct{ added, committing, ready []string }

func (k *parking) add(key string) { k.added = append(k.added, key) }

// committed is told at every commit; that there is one means that the one
// before it was stored.
func (k *parking) committed() {
	k.ready = append(k.ready, k.committing...)
	k.committing, k.added = k.added, nil
}

func (k *parking) waits() bool { return len(k.added)+len(k.committing) > 0 }
