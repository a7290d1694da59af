package aggregator

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/plan"
	"github.com/tidegate-io/tidegate/internal/window"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// record is a commit (what changed) or a snapshot (everything). Applying the
// records of a log in order gives the state; customers and windows are in full,
// buckets and members of a set as far as they changed.
type record struct {
	Base      []byte            `cbor:"1,keyasint,omitempty"` // catalog as JSON; once
	Catalog   []byte            `cbor:"2,keyasint,omitempty"` // when it changed
	Customers []customerRec     `cbor:"3,keyasint,omitempty"`
	Windows   []windowRec       `cbor:"4,keyasint,omitempty"`
	Seen      []byte            `cbor:"5,keyasint,omitempty"` // fingerprints that are in no chunk yet
	Chunks    []fingerprint.Run `cbor:"6,keyasint,omitempty"` // new runs in SEEN, which hold all fingerprints before
	Documents uint64            `cbor:"7,keyasint,omitempty"` // every window changed up to here is written
	Position  uint64            `cbor:"8,keyasint,omitempty"`
	StoredAt  int64             `cbor:"9,keyasint,omitempty"` // ns
	Hour      uint32            `cbor:"10,keyasint,omitempty"`
	Flipped   int64             `cbor:"11,keyasint,omitempty"` // documents of windows that ended up to here (ms) say so
	Gone      []uint64          `cbor:"12,keyasint,omitempty"` // runs that were merged
	Merged    []fingerprint.Run `cbor:"13,keyasint,omitempty"` // what they became
	Obsolete  []uint64          `cbor:"14,keyasint,omitempty"` // snapshots: messages in SEEN of runs that were merged
}

type customerRec struct {
	_         struct{} `cbor:",toarray"`
	ID        string
	Segments  []window.Segment
	Plan      string
	Overrides map[string]events.Override
	Closed    map[string]int64
	CutAt     int64
	Controls  map[string]uint64
}

type windowRec struct {
	_               struct{} `cbor:",toarray"`
	Customer        string
	Feature         string
	Start, End      int64
	Used            events.Value
	Events          int64
	FirstAt, LastAt int64
	Seq             uint64
	StoredAt        int64
	Closed          bool
	Dropped         int64
	Buckets         []bucket
	Members         []member
	Plan            string
}

type member struct {
	_     struct{} `cbor:",toarray"`
	Hash  uint64
	Start int64
}

func (c *customer) record() customerRec {
	return customerRec{ID: c.id, Segments: c.segments, Plan: c.plan, Overrides: c.overrides, Closed: c.closed, CutAt: c.cutAt, Controls: c.controls}
}

// record is the window; whole takes all buckets and members.
func (u *usage) record(customer string, whole bool) windowRec {
	r := windowRec{Customer: customer, Feature: u.feature, Start: u.start, End: u.end, Used: u.used, Events: u.events,
		FirstAt: u.firstAt, LastAt: u.lastAt, Seq: u.seq, StoredAt: u.storedAt, Closed: u.closed, Dropped: u.dropped, Plan: u.plan}
	for _, b := range u.buckets {
		if _, isNew := u.newBuckets[b.Start]; whole || isNew {
			r.Buckets = append(r.Buckets, b)
		}
	}
	if whole {
		for h, at := range u.members {
			r.Members = append(r.Members, member{Hash: h, Start: at})
		}
	} else {
		for h := range u.newMembers {
			if at, ok := u.members[h]; ok {
				r.Members = append(r.Members, member{Hash: h, Start: at})
			}
		}
	}
	slices.SortFunc(r.Members, func(a, b member) int {
		if a.Hash < b.Hash {
			return -1
		}
		return 1
	})
	return r
}

func (s *state) apply(b []byte) (r record, seen []fingerprint.Entry, err error) {
	if err := wire.Unmarshal(b, &r); err != nil {
		return r, nil, err
	}
	if r.Base != nil {
		if err := json.Unmarshal(r.Base, &s.base); err != nil {
			return r, nil, err
		}
		s.hasBase = true
		s.setCatalog(s.base)
	}
	if r.Catalog != nil {
		var c plan.Catalog
		if err := json.Unmarshal(r.Catalog, &c); err != nil {
			return r, nil, err
		}
		s.setCatalog(c)
	}
	for _, cr := range r.Customers {
		c := s.customer(cr.ID)
		c.segments, c.plan, c.overrides, c.closed = cr.Segments, cr.Plan, cr.Overrides, cr.Closed
		c.cutAt, c.controls, c.changed = cr.CutAt, cr.Controls, false
	}
	for i := range r.Windows {
		s.applyWindow(&r.Windows[i])
	}
	err = fingerprint.Decode(r.Seen, func(e fingerprint.Entry) {
		s.seen.Add(e.FP, e.Hour)
		seen = append(seen, e)
	})
	s.position, s.storedAt, s.hour = r.Position, time.Time{}, r.Hour
	if r.StoredAt != 0 {
		s.storedAt = time.Unix(0, r.StoredAt).UTC()
	}
	return r, seen, err
}

// ns is t in nanoseconds since 1970; 0 when nothing was stored yet.
func ns(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (s *state) applyWindow(r *windowRec) {
	c := s.customer(r.Customer)
	c.changed = false
	u := c.find(r.Feature, r.Start)
	if u == nil {
		feature := r.Feature
		if g := s.byFeature[feature]; g != nil {
			feature = g.Feature // one copy of the name
		}
		u = &usage{feature: feature, start: r.Start}
		c.windows = append(c.windows, u)
	}
	u.end, u.used, u.events, u.firstAt, u.lastAt = r.End, r.Used, r.Events, r.FirstAt, r.LastAt
	u.seq, u.storedAt, u.closed, u.plan = r.Seq, r.StoredAt, r.Closed, r.Plan
	for _, b := range r.Buckets {
		u.setBucket(b)
	}
	for _, m := range r.Members {
		if u.members == nil {
			u.members = map[uint64]int64{}
		}
		u.members[m.Hash] = m.Start
	}
	if r.Dropped > 0 {
		u.dropBefore(r.Dropped)
	}
	u.changed = false
}

func (u *usage) setBucket(b bucket) {
	i, found := slices.BinarySearchFunc(u.buckets, b.Start, func(x bucket, start int64) int { return int(x.Start - start) })
	if !found {
		u.buckets = slices.Insert(u.buckets, i, b)
	}
	u.buckets[i] = b
}

// snapshot is the whole state, in an order that depends on nothing else.
func (s *state) snapshot() (record, error) {
	base, err := json.Marshal(s.base)
	if err != nil {
		return record{}, err
	}
	catalog, err := json.Marshal(s.catalog)
	if err != nil {
		return record{}, err
	}
	r := record{Base: base, Catalog: catalog, Position: s.position, StoredAt: ns(s.storedAt), Hour: s.hour}
	for _, c := range s.sortedCustomers() {
		r.Customers = append(r.Customers, c.record())
		for _, u := range c.sortedWindows() {
			r.Windows = append(r.Windows, u.record(c.id, true))
		}
	}
	return r, nil
}

func (c *customer) sortedWindows() []*usage {
	ws := slices.Clone(c.windows)
	slices.SortFunc(ws, compareUsage)
	return ws
}
