package billing

import (
	"container/heap"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// State is the fold over BILLING. Its methods are not safe for concurrent use.
type State struct {
	cfg   Config
	facts facts

	// Derived from the facts.
	index  map[string]map[string]bool // customer → Stripe customers
	owned  map[string]map[string]bool // Stripe customer → customers, as indexed
	priced map[string]map[string]bool // price → Stripe customers that ever had it
	timers timers

	dirty dirty
}

// facts is what is committed.
type facts struct {
	Seq       uint64    // of the last record
	Clock     time.Time // latest moment known
	Documents uint64    // how many times a document has changed
	Parties   map[string]*party
	Links     map[string]link
	Prices    priceFacts
	Customers map[string]*sent
	Seen      map[string]int64 // event ids by the day they were stored
	SeenDay   int64
}

// sent is what was last said of a customer, so that only changes are said.
type sent struct {
	State    events.PlanState          `cbor:"s"`
	Email    string                    `cbor:"e,omitempty"`
	Party    string                    `cbor:"p,omitempty"`
	Payments map[string]events.Payment `cbor:"c,omitempty"`
	Digest   uint64                    `cbor:"d,omitempty"` // of the document
	Document uint64                    `cbor:"n,omitempty"` // facts.Documents when it changed
	Unknown  []string                  `cbor:"u,omitempty"`
	Moves    map[string]events.Move    `cbor:"v,omitempty"`
}

// Change is something new about a customer. Fields that did not change are
// nil.
type Change struct {
	Customer      string
	Account       *events.Account      // to be published to ACCOUNT
	Subscription  *events.Subscription // to be written
	Document      uint64               // number of that document; grows with every change of any
	UnknownPrices []string             // now in force without leading to a plan: tell the operator
}

// seenDays is for how many days an event is known as a duplicate by its id. An
// older one is folded again, which changes nothing: it only costs more.
const seenDays = 40

// New returns an empty state.
func New(cfg Config) *State {
	s := newState(cfg)
	s.open()
	return s
}

// newState is a state that takes patches, until it is opened.
func newState(cfg Config) *State {
	return &State{cfg: cfg.withDefaults(), facts: newFacts(), dirty: newDirty()}
}

func newFacts() facts {
	return facts{
		Parties: map[string]*party{}, Links: map[string]link{}, Customers: map[string]*sent{}, Seen: map[string]int64{},
		Prices: priceFacts{Prices: map[string]*priceFact{}, Products: map[string]*productFact{}},
	}
}

// Apply folds a record. An error (ErrRecord) means that the record can't be
// folded, ever; nothing has changed then.
func (s *State) Apply(rec Record) ([]Change, error) {
	s.tick(rec)
	switch rec.Kind {
	case KindStripe:
		if _, ok := s.facts.Seen[rec.Event.ID]; ok {
			return nil, nil
		}
		changes, err := s.event(&rec.Event)
		if err == nil && rec.Event.ID != "" {
			s.facts.Seen[rec.Event.ID] = s.facts.SeenDay
			s.dirty.seen = append(s.dirty.seen, rec.Event.ID)
		}
		return changes, err
	case KindFetched:
		return s.join(fetchedSight(&rec.Fetched, s.cfg.CustomerKey))
	case KindMap:
		return s.link(rec.Map, rec.Seq), nil
	}
	return nil, ErrRecord
}

// tick moves position and clock to the record's.
func (s *State) tick(rec Record) {
	s.facts.Seq = max(s.facts.Seq, rec.Seq)
	s.facts.Clock = later(s.facts.Clock, rec.Time)
	if day := rec.Time.Unix() / 86400; day > s.facts.SeenDay {
		s.facts.SeenDay = day
		s.forget()
	}
}

func (s *State) forget() {
	maps.DeleteFunc(s.facts.Seen, func(_ string, day int64) bool { return day < s.facts.SeenDay-seenDays })
}

func (s *State) event(e *Envelope) ([]Change, error) {
	sight, ok := eventSight(e, s.cfg.CustomerKey)
	if !ok {
		return nil, nil
	}
	return s.join(sight)
}

// join adds what an object shows and says what follows.
func (s *State) join(sg sight) ([]Change, error) {
	a, err := s.facts.absorb(sg)
	if err != nil {
		return nil, err
	}
	s.dirty.add(a)
	affected := map[string]bool{}
	if a.party != "" {
		affected = s.reindex(a.party)
	}
	for _, price := range a.repriced {
		for id := range s.priced[price] {
			maps.Copy(affected, s.owned[id])
		}
	}
	if len(a.products) > 0 {
		affected = s.all() // rare: somebody edited a product at Stripe
	}
	return s.changes(affected), nil
}

// link takes the operator's word on whose a Stripe customer is.
func (s *State) link(m Mapping, seq uint64) []Change {
	if old, ok := s.facts.Links[m.StripeCustomer]; ok && old.Seq >= seq {
		return nil
	}
	s.facts.Links[m.StripeCustomer] = link{Customer: m.Customer, Seq: seq}
	s.dirty.links[m.StripeCustomer] = true
	s.facts.party(m.StripeCustomer)
	s.dirty.parties[m.StripeCustomer] = true
	return s.changes(s.reindex(m.StripeCustomer))
}

// Configure takes another configuration and says what it changes.
func (s *State) Configure(cfg Config) []Change {
	s.cfg = cfg.withDefaults()
	return s.changes(s.all())
}

// Advance moves the clock and says what timers change: grace periods and
// cancellations that have come due.
func (s *State) Advance(now time.Time) []Change {
	s.facts.Clock = later(s.facts.Clock, now.UTC())
	due := map[string]bool{}
	for len(s.timers.heap) > 0 && !s.timers.heap[0].at.After(s.facts.Clock) {
		due[heap.Pop(&s.timers).(timer).customer] = true
	}
	return s.changes(due)
}

// NextTimer is when Advance has something to do; zero: not by itself.
func (s *State) NextTimer() time.Time {
	if len(s.timers.heap) == 0 {
		return time.Time{}
	}
	return s.timers.heap[0].at
}

// reindex updates whose the Stripe customer is and returns who was or is
// affected by it.
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

// open makes ready for Apply what newState and patches have made.
func (s *State) open() {
	s.forget()
	s.index, s.owned = map[string]map[string]bool{}, map[string]map[string]bool{}
	s.priced = map[string]map[string]bool{}
	s.timers = timers{}
	for id := range s.facts.Parties {
		s.reindex(id)
	}
	for c := range s.index {
		s.timers.set(c, s.view(c).next)
	}
}

func (s *State) changes(customers map[string]bool) []Change {
	var out []Change
	for _, c := range slices.Sorted(maps.Keys(customers)) {
		out = append(out, s.change(c)...)
	}
	return out
}

// digest is a document's, its position apart.
func digest(d events.Subscription) uint64 {
	d.Position = 0
	h := fnv.New64a()
	b, _ := encoding.Marshal(d) // strings and times always can be
	h.Write(b)
	return h.Sum64()
}
