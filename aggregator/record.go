package aggregator

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// record is a commit, which contains the changes, or a snapshot, which contains
// everything. Applying the records of a log in order gives the state. A record
// contains whole customers and windows, but in a commit only those buckets and
// members of a window that have changed.
type record struct {
	Base      []byte            `cbor:"1,keyasint,omitempty"`  // the base catalog as JSON; in the first commit and in snapshots
	Catalog   []byte            `cbor:"2,keyasint,omitempty"`  // the catalog in force as JSON; in snapshots, and in commits if it has changed
	Customers []customerRec     `cbor:"3,keyasint,omitempty"`  // encode adds them
	Windows   []windowRec       `cbor:"4,keyasint,omitempty"`  // likewise
	Seen      []byte            `cbor:"5,keyasint,omitempty"`  // fingerprints that are in no run of SEEN yet
	Chunks    []fingerprint.Run `cbor:"6,keyasint,omitempty"`  // new runs of SEEN, with all fingerprints of earlier records
	Documents uint64            `cbor:"7,keyasint,omitempty"`  // the documents contain every change up to this position
	Position  uint64            `cbor:"8,keyasint,omitempty"`  // of the last message folded, in USAGE
	StoredAt  int64             `cbor:"9,keyasint,omitempty"`  // when that message was stored (ns)
	Hour      uint32            `cbor:"10,keyasint,omitempty"` // of the last expiry
	EndedTo   int64             `cbor:"11,keyasint,omitempty"` // the documents say of each window that ended up to here (ms) that it ended
	Gone      []uint64          `cbor:"12,keyasint,omitempty"` // runs of SEEN that were merged
	Merged    []fingerprint.Run `cbor:"13,keyasint,omitempty"` // the runs that contain their fingerprints now
	Obsolete  []uint64          `cbor:"14,keyasint,omitempty"` // in snapshots: messages in SEEN of runs that were merged
	Lost      []uint64          `cbor:"15,keyasint,omitempty"` // runs that SEEN has lost
	LostTo    uint32            `cbor:"16,keyasint,omitempty"` // the hour of the newest fingerprint that SEEN has ever lost
}

// customerRec is a customer in a record.
type customerRec struct {
	_         struct{} `cbor:",toarray"`
	ID        string
	Segments  []gate.Segment
	Plan      string
	Overrides map[string]gate.Override
	Closed    map[string]int64
	CutAt     int64
	Controls  map[string]uint64
}

// windowRec is a window in a record; see usage for its fields.
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

// member is a value of a unique meter; see detail.members.
type member struct {
	_     struct{} `cbor:",toarray"`
	Hash  uint64
	Start int64
}

// apply applies an encoded record to the state. It returns the record, and its
// fingerprints.
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
		var c gate.Catalog
		if err := json.Unmarshal(r.Catalog, &c); err != nil {
			return r, nil, err
		}
		s.setCatalog(c)
	}
	for i := range r.Customers {
		s.applyCustomer(&r.Customers[i])
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

func (s *state) applyCustomer(r *customerRec) {
	c := s.customer(r.ID)
	if c.changed = false; c.extra != nil {
		*c.extra = extra{id: c.extra.id}
	}
	c.setSegments(r.Segments)
	if r.Plan == "" && r.Overrides == nil && r.Closed == nil && r.CutAt == 0 && r.Controls == nil {
		return
	}
	x := c.ensureExtra()
	x.plan, x.overrides, x.cutAt = r.Plan, r.Overrides, r.CutAt
	for name, end := range r.Closed {
		x.closed = append(x.closed, closing{s.feature(name), end})
	}
	for what, position := range r.Controls {
		x.settings = append(x.settings, setting{what, position})
	}
}

func (s *state) applyWindow(r *windowRec) {
	c := s.customer(r.Customer)
	c.changed = false
	ft := s.feature(r.Feature)
	u := c.find(ft, r.Start)
	if u == nil {
		u = c.open(ft, r.Start)
	}
	u.end, u.used, u.events, u.firstAt, u.lastAt = r.End, r.Used, r.Events, r.FirstAt, r.LastAt
	u.seq, u.storedAt, u.closed = r.Seq, r.StoredAt, r.Closed
	if r.Plan != "" || u.detail != nil {
		u.ensureDetail().plan = r.Plan
	}
	for _, b := range r.Buckets {
		u.setBucket(b)
	}
	for _, m := range r.Members {
		if u.ensureDetail().members == nil {
			u.detail.members = map[uint64]int64{}
		}
		u.detail.members[m.Hash] = m.Start
	}
	if r.Dropped > 0 {
		u.dropBefore(r.Dropped)
	}
	u.changed = false
}

func (u *usage) setBucket(b bucket) {
	d := u.ensureDetail()
	i, found := d.bucket(b.Start)
	if !found {
		d.buckets = slices.Insert(d.buckets, i, b)
	}
	d.buckets[i], d.sums.valid = b, false
}
