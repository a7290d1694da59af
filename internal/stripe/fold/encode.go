package fold

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// encoding is deterministic: equal states have equal bytes.
var encoding = func() cbor.EncMode {
	opts := cbor.CoreDetEncOptions()
	opts.Time = cbor.TimeRFC3339NanoUTC
	mode, err := opts.EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// decoding accepts maps of any size: a busy account has more events in seenDays
// than the default limit.
var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxMapPairs: math.MaxInt32, MaxArrayElements: math.MaxInt32}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// dirty lists what has changed since the last commit.
type dirty struct {
	parties, links, unlinked, prices, products, charges, customers map[string]bool
	seen                                                           []string
}

func newDirty() dirty {
	return dirty{
		parties: map[string]bool{}, links: map[string]bool{}, unlinked: map[string]bool{}, prices: map[string]bool{},
		products: map[string]bool{}, charges: map[string]bool{}, customers: map[string]bool{},
	}
}

func (d *dirty) add(t touched) {
	if t.party != "" {
		d.parties[t.party] = true
	}
	for _, id := range t.prices {
		d.prices[id] = true
	}
	for _, id := range t.products {
		d.products[id] = true
	}
	if t.charge != "" {
		d.charges[t.charge] = true
	}
}

func (d *dirty) empty() bool {
	return len(d.parties)+len(d.links)+len(d.unlinked)+len(d.prices)+len(d.products)+len(d.charges)+len(d.customers)+len(d.seen) == 0
}

// delta is a commit: each of its entries replaces the earlier one. A snapshot is
// a delta from the empty state.
type delta struct {
	Seq       uint64                  `cbor:"q"`
	Clock     time.Time               `cbor:"t,omitzero"`
	Documents uint64                  `cbor:"n,omitempty"`
	Written   uint64                  `cbor:"w,omitempty"` // documents up to this number are written
	Parties   map[string]*party       `cbor:"p,omitempty"`
	Links     map[string]link         `cbor:"l,omitempty"`
	Unlinked  map[string]uint64       `cbor:"x,omitempty"`
	Prices    map[string]*priceFact   `cbor:"c,omitempty"`
	Products  map[string]*productFact `cbor:"o,omitempty"`
	Charges   map[string]*chargeFact  `cbor:"h,omitempty"`
	Customers map[string]*emitted     `cbor:"u,omitempty"`
	Seen      map[string]int64        `cbor:"s,omitempty"`
	SeenDay   int64                   `cbor:"d,omitempty"`
	Thin      Thin                    `cbor:"v,omitzero"`
}

func (s *State) head(written uint64) delta {
	f := &s.facts
	return delta{Seq: f.Seq, Clock: f.Clock, Documents: f.Documents, Written: written, SeenDay: f.SeenDay, Thin: f.Thin}
}

// Snapshot encodes the state; equal states have equal bytes. It also stores
// written: all documents up to that number are written.
func (s *State) Snapshot(written uint64) ([]byte, error) {
	d, f := s.head(written), &s.facts
	d.Parties, d.Links, d.Customers, d.Seen = f.Parties, f.Links, f.Customers, f.Seen
	d.Unlinked = f.Unlinked
	d.Prices, d.Products, d.Charges = f.Prices.Prices, f.Prices.Products, f.Charges
	return encoding.Marshal(d)
}

// Delta encodes what has changed since the last call. It returns nil when nothing
// has.
func (s *State) Delta(written uint64) ([]byte, error) {
	if s.dirty.empty() {
		return nil, nil
	}
	d, f := s.head(written), &s.facts
	d.Parties, d.Links = pick(f.Parties, s.dirty.parties), pick(f.Links, s.dirty.links)
	d.Unlinked = pick(f.Unlinked, s.dirty.unlinked)
	d.Prices, d.Products = pick(f.Prices.Prices, s.dirty.prices), pick(f.Prices.Products, s.dirty.products)
	d.Charges = pick(f.Charges, s.dirty.charges)
	d.Customers = pick(f.Customers, s.dirty.customers)
	d.Seen = make(map[string]int64, len(s.dirty.seen))
	for _, id := range s.dirty.seen {
		if day, ok := f.Seen[id]; ok {
			d.Seen[id] = day
		}
	}
	b, err := encoding.Marshal(d)
	if err == nil {
		s.dirty = newDirty()
	}
	return b, err
}

// pick returns the entries of m with the given keys.
func pick[V any](m map[string]V, keys map[string]bool) map[string]V {
	out := make(map[string]V, len(keys))
	for k := range keys {
		out[k] = m[k]
	}
	return out
}

// Restore returns the state of a snapshot (nil: the empty state) and of the
// deltas made after it, and the number up to which all documents are written.
func Restore(cfg Config, snapshot []byte, deltas ...[]byte) (*State, uint64, error) {
	s := newState(cfg)
	var written uint64
	for _, b := range slices.Concat([][]byte{snapshot}, deltas) {
		if b == nil {
			continue
		}
		w, err := s.facts.patch(b)
		if err != nil {
			return nil, 0, err
		}
		written = w
	}
	s.rebuild()
	return s, written, nil
}

// patch applies a delta.
func (f *facts) patch(b []byte) (written uint64, err error) {
	var d delta
	if err = decoding.Unmarshal(b, &d); err != nil {
		return 0, fmt.Errorf("billing state: %w", err)
	}
	f.Clock = d.Clock.UTC()
	f.Seq, f.Documents, f.SeenDay = d.Seq, d.Documents, d.SeenDay
	f.Thin = Thin{Count: d.Thin.Count, Last: d.Thin.Last.UTC()}
	maps.Copy(f.Parties, d.Parties)
	maps.Copy(f.Links, d.Links)
	maps.Copy(f.Unlinked, d.Unlinked)
	maps.Copy(f.Prices.Prices, d.Prices)
	maps.Copy(f.Prices.Products, d.Products)
	maps.Copy(f.Charges, d.Charges)
	maps.Copy(f.Customers, d.Customers)
	maps.Copy(f.Seen, d.Seen)
	return d.Written, nil
}
