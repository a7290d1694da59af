package notifier

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// customer holds what mails and conversions need of a customer. It is a function of
// the messages.
type customer struct {
	Email       string `json:"e,omitempty"` // from the app; used before StripeEmail
	StripeEmail string `json:"s,omitempty"`
	Locale      string `json:"l,omitempty"`
	Pinned      string `json:"p,omitempty"` // plan set by the operator
	Plan        string `json:"n,omitempty"` // of the subscription
	Position    uint64 `json:"b,omitempty"` // in BILLING, of Plan
	Suppressed  string `json:"x,omitempty"` // why no mail may go out
	// Waiting are the keys of notifications that came without an address.
	Waiting []string `json:"w,omitempty"`
	// Payments are the recent payments, for records of limits that come later than the
	// payment they led to.
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

// kept is a stored mail whose bytes will be dropped.
type kept struct {
	Key string    `json:"k"`
	At  time.Time `json:"t"` // the earliest time for that
}

// facts is the whole state in a snapshot, and the changes in a commit.
type facts struct {
	Customers map[string]*customer `json:"c"` // in a commit: the changed ones; nil: removed
	Kept      []kept               `json:"k"` // in a commit: the new ones
	Dropped   int                  `json:"d"` // in a commit: how many of the oldest Kept are gone
	// Parked are the keys of mails that the provider refuses for now. A commit has all
	// of them if they changed.
	Parked []string `json:"p"`
	Repark bool     `json:"r,omitempty"` // in a commit: Parked has changed
}

// changes notes what has changed since the last commit.
type changes struct {
	customers map[string]bool
	kept      int // how many at the end of Kept are new
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
		f.Customers[id] = p.facts.Customers[id] // nil: removed
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

// known returns a customer for reading.
func (p *Processor) known(id string) *customer {
	if c := p.facts.Customers[id]; c != nil {
		return c
	}
	return &customer{}
}

// changing returns a customer for writing, and adds it to the next commit.
func (p *Processor) changing(id string) *customer {
	c := p.facts.Customers[id]
	if c == nil {
		c = &customer{}
		p.facts.Customers[id] = c
	}
	p.changes.customers[id] = true
	return c
}

// keep notes when to drop the bytes of a mail.
func (p *Processor) keep(key string, at time.Time) {
	p.facts.Kept = append(p.facts.Kept, kept{Key: key, At: at.UTC()})
	p.changes.kept++
}

// takeKept removes and returns the oldest kept mail, if it is due.
func (p *Processor) takeKept(now time.Time) (kept, bool) {
	if len(p.facts.Kept) == 0 || p.facts.Kept[0].At.After(now) {
		return kept{}, false
	}
	k := p.facts.Kept[0]
	p.facts.Kept = p.facts.Kept[1:]
	// A mail that was added since the last commit is in no commit.
	if p.changes.kept > len(p.facts.Kept) {
		p.changes.kept--
	} else {
		p.changes.dropped++
	}
	return k, true
}

// park adds a key to the parked ones.
func (p *Processor) park(key string) {
	if !slices.Contains(p.facts.Parked, key) {
		p.facts.Parked = append(slices.Clone(p.facts.Parked), key)
		p.changes.parked = true
	}
	p.parking.add(key)
}

// unpark removes all parked keys.
func (p *Processor) unpark() []string {
	keys := p.facts.Parked
	if len(keys) > 0 {
		p.facts.Parked, p.changes.parked = nil, true
	}
	p.parking = parking{}
	return keys
}

// parking delays the state "parked" of a document until the list of parked keys is
// committed, because nobody would ever send a parked mail that is on no list.
type parking struct{ added, committing, ready []string }

func (k *parking) add(key string) { k.added = append(k.added, key) }

// committed is called at every commit. A commit means that the one before it is
// stored.
func (k *parking) committed() {
	k.ready = append(k.ready, k.committing...)
	k.committing, k.added = k.added, nil
}

func (k *parking) pending() bool { return len(k.added)+len(k.committing) > 0 }
