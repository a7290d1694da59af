package fold

import (
	"container/heap"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
)

// State is the fold over BILLING. Its methods are not safe for concurrent use.
type State struct {
	cfg   Config
	facts facts

	// Derived from the facts.
	index         map[string]map[string]bool // customer → Stripe customers
	owned         map[string]map[string]bool // Stripe customer → customers, as indexed
	priced        map[string]map[string]bool // price → Stripe customers that ever had it
	charged       map[string]map[string]bool // Stripe customer → charges
	timers        timers
	unmapped      map[string]bool            // Stripe customers to be mapped
	unknownPrices map[string]map[string]bool // price without a plan → customers

	dirty  dirty
	failed []error // what changesApart and rebuild left out
}

// facts is the committed part of the state.
type facts struct {
	Seq       uint64    // of the last record
	Clock     time.Time // the latest known moment
	Documents uint64    // counts the changes of all documents
	Parties   map[string]*party
	Links     map[string]link
	Unlinked  map[string]uint64 // our customer → record up to which its mappings are removed
	Prices    priceFacts
	Charges   map[string]*chargeFact
	Customers map[string]*emitted
	Seen      map[string]int64 // event ids by the day they were stored
	SeenDay   int64
	Thin      Thin
}

// emitted is what was last emitted about a customer, so that only changes are
// emitted.
type emitted struct {
	State    records.PlanState          `cbor:"s"`
	Email    string                     `cbor:"e,omitempty"`
	Party    string                     `cbor:"p,omitempty"`
	Payments map[string]records.Payment `cbor:"c,omitempty"`
	Refunds  map[string]records.Refund  `cbor:"r,omitempty"`
	Digest   uint64                     `cbor:"d,omitempty"` // of the document
	Document uint64                     `cbor:"n,omitempty"` // facts.Documents when it changed
	Unknown  []string                   `cbor:"u,omitempty"`
	Moves    map[string]records.Move    `cbor:"v,omitempty"`
}

// Change holds what changed about a customer. Fields that did not change are nil.
type Change struct {
	Customer      string
	Account       *records.Account      // to be published to ACCOUNT
	Subscription  *records.Subscription // to be written
	Document      uint64                // number of that document; grows with every change of any document
	UnknownPrices []string              // now in force and lead to no plan; to be logged
}

// seenDays is for how many days event ids are kept. A duplicate that comes later
// is folded again, which costs time and changes nothing.
const seenDays = 40

// New returns an empty state.
func New(cfg Config) *State {
	s := newState(cfg)
	s.rebuild()
	return s
}

// newState returns a state that takes patches and needs rebuild before Apply.
func newState(cfg Config) *State {
	return &State{cfg: cfg.withDefaults(), facts: newFacts(), dirty: newDirty()}
}

func newFacts() facts {
	return facts{
		Parties: map[string]*party{}, Links: map[string]link{}, Unlinked: map[string]uint64{}, Customers: map[string]*emitted{}, Seen: map[string]int64{},
		Charges: map[string]*chargeFact{},
		Prices:  priceFacts{Prices: map[string]*priceFact{}, Products: map[string]*productFact{}},
	}
}

// Apply folds a record that ParseRecord has returned, and returns the changes.
func (s *State) Apply(rec Record) []Change {
	s.tick(rec)
	switch rec.Kind {
	case KindStripe:
		return s.event(&rec)
	case KindFetched:
		return s.merge(fetchedObservation(&rec, s.cfg.CustomerKey))
	case KindMap:
		return s.link(rec.Map, rec.Seq)
	}
	return nil
}

// tick moves position and clock forward to the record's.
func (s *State) tick(rec Record) {
	s.facts.Seq = max(s.facts.Seq, rec.Seq)
	s.facts.Clock = later(s.facts.Clock, rec.Time)
	if day := rec.Time.Unix() / 86400; day > s.facts.SeenDay {
		s.facts.SeenDay = day
		s.forget()
	}
}

// forget removes the event ids that are older than seenDays.
func (s *State) forget() {
	maps.DeleteFunc(s.facts.Seen, func(_ string, day int64) bool { return day < s.facts.SeenDay-seenDays })
}

func (s *State) event(rec *Record) []Change {
	if id := rec.Event.ID; id != "" {
		if _, ok := s.facts.Seen[id]; ok {
			return nil
		}
		s.facts.Seen[id] = s.facts.SeenDay
		s.dirty.seen = append(s.dirty.seen, id)
	}
	if rec.Event.Thin {
		s.facts.Thin = Thin{Count: s.facts.Thin.Count + 1, Last: later(s.facts.Thin.Last, rec.Time)}
	}
	o, ok := eventObservation(rec, s.cfg.CustomerKey)
	if !ok {
		return nil
	}
	return s.merge(o)
}

// merge adds the facts of an observation and returns the changes that follow.
func (s *State) merge(o observation) []Change {
	t := s.facts.merge(o)
	s.dirty.add(t)
	s.noteCharge(t.charge)
	affected := map[string]bool{}
	if t.party != "" {
		affected = s.reindex(t.party)
	}
	for _, price := range t.repriced {
		for id := range s.priced[price] {
			maps.Copy(affected, s.owned[id])
		}
	}
	if len(t.products) > 0 {
		affected = s.all() // rare: somebody edited a product at Stripe
	}
	return s.changes(affected)
}

// Configure sets the configuration and returns the changes that follow.
func (s *State) Configure(cfg Config) []Change {
	s.cfg = cfg.withDefaults()
	return s.changesApart(s.all())
}

// Advance moves the clock and returns the changes of grace periods and
// cancellations that have come due.
func (s *State) Advance(now time.Time) []Change {
	s.facts.Clock = later(s.facts.Clock, now.UTC())
	due := map[string]bool{}
	for len(s.timers.heap) > 0 && !s.timers.heap[0].at.After(s.facts.Clock) {
		due[heap.Pop(&s.timers).(timer).customer] = true
	}
	return s.changesApart(due)
}

// NextTimer returns when Advance has something to do; zero means never without a
// new record.
func (s *State) NextTimer() time.Time {
	if len(s.timers.heap) == 0 {
		return time.Time{}
	}
	return s.timers.heap[0].at
}

// reindex updates the customers that a Stripe customer belongs to, and returns
// those that it belonged to before or belongs to now.
func (s *State) reindex(id string) map[string]bool {
	affected := map[string]bool{}
	for c := range s.owned[id] {
		affected[c] = true
		delete(s.index[c], id)
		if len(s.index[c]) == 0 {
			delete(s.index, c)
		}
	}
	owners := s.owners(id)
	s.owned[id] = owners
	for c := range owners {
		affected[c] = true
		if s.index[c] == nil {
			s.index[c] = map[string]bool{}
		}
		s.index[c][id] = true
	}
	s.notePrices(id)
	s.noteUnmapped(id)
	return affected
}

func (s *State) notePrices(id string) {
	note := func(items []item) {
		for _, it := range items {
			if s.priced[it.Price] == nil {
				s.priced[it.Price] = map[string]bool{}
			}
			s.priced[it.Price][id] = true
		}
	}
	for _, sub := range s.facts.Parties[id].Subs {
		for i := range sub.Log {
			note(sub.Log[i].Items)
		}
		if sub.Base != nil {
			note(sub.Base.Last.Items)
		}
		if sub.Payment != nil {
			note(sub.Payment.Items)
		}
	}
}

func (s *State) noteCharge(id string) {
	c := s.facts.Charges[id]
	if c == nil || c.Party == "" {
		return
	}
	if s.charged[c.Party] == nil {
		s.charged[c.Party] = map[string]bool{}
	}
	s.charged[c.Party][id] = true
}

// all returns all known customers.
func (s *State) all() map[string]bool {
	all := map[string]bool{}
	for c := range s.index {
		all[c] = true
	}
	for c := range s.facts.Customers {
		all[c] = true
	}
	return all
}

// rebuild derives the indexes and timers from the facts.
func (s *State) rebuild() {
	s.forget()
	s.index, s.owned = map[string]map[string]bool{}, map[string]map[string]bool{}
	s.priced = map[string]map[string]bool{}
	s.charged = map[string]map[string]bool{}
	s.timers, s.unmapped = timers{}, map[string]bool{}
	s.unknownPrices = map[string]map[string]bool{}
	for c, e := range s.facts.Customers {
		s.noteUnknown(c, e.Unknown, true)
	}
	for id := range s.facts.Charges {
		s.noteCharge(id)
	}
	for id := range s.facts.Parties {
		s.reindex(id)
	}
	for c := range s.index {
		s.apart(func() { s.timers.set(c, s.view(c).next) })
	}
}

func (s *State) changes(customers map[string]bool) []Change {
	var out []Change
	for _, c := range slices.Sorted(maps.Keys(customers)) {
		out = append(out, s.change(c)...)
	}
	return out
}

// changesApart is changes where no record is to blame: a customer of whom nothing can be
// derived does not hold up the others.
func (s *State) changesApart(customers map[string]bool) []Change {
	var out []Change
	for _, c := range slices.Sorted(maps.Keys(customers)) {
		s.apart(func() { out = append(out, s.change(c)...) })
	}
	return out
}

// apart calls f, and notes a panic of it.
func (s *State) apart(f func()) {
	if err := guard.Do(func() error { f(); return nil }); err != nil {
		s.failed = append(s.failed, err)
	}
}

// Failed returns the panics that were noted since its last call.
func (s *State) Failed() []error {
	all := s.failed
	s.failed = nil
	return all
}

// digest returns a hash of the document without its position.
func digest(d records.Subscription) uint64 {
	d.Position = 0
	h := fnv.New64a()
	b, _ := encoding.Marshal(d) // strings and times always can be
	h.Write(b)
	return h.Sum64()
}
