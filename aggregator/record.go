package aggregator

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// record is a commit (what changed) or a snapshot (everything). Applying the
// records of a log in order gives the state; customers and windows are in full,
// buckets and members of a set as far as they changed.
type record struct {
	Base      []byte            `cbor:"1,keyasint,omitempty"` // catalog as JSON; once
	Catalog   []byte            `cbor:"2,keyasint,omitempty"` // when it changed
	Customers []customerRec     `cbor:"3,keyasint,omitempty"` // see encode
	Windows   []windowRec       `cbor:"4,keyasint,omitempty"` // likewise
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
	Segments  []gate.Segment
	Plan      string
	Overrides map[string]gate.Override
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

// What encode and append must know of the structs.
const (
	customersKey   = 3
	windowsKey     = 4
	customerFields = 7
	windowFields   = 15
)

// append appends the customer as a customerRec.
func (c *customer) append(b []byte) []byte {
	var one [1]gate.Segment
	x := c.extra
	if x == nil {
		x = &extra{}
	}
	b = c.appendID(wire.AppendArray(b, customerFields))
	if segments := c.segments(&one); segments == nil {
		b = wire.AppendNil(b)
	} else {
		b = wire.AppendArray(b, len(segments))
		for _, s := range segments {
			b = wire.AppendTime(wire.AppendTime(wire.AppendArray(b, 2), s.From), s.Anchor)
		}
	}
	b = wire.AppendText(b, x.plan)
	b = appendMap(b, x.overrides)
	var closed map[string]int64
	for _, cl := range x.closed {
		if closed == nil {
			closed = map[string]int64{}
		}
		closed[cl.name] = cl.end
	}
	b = wire.AppendInt(appendMap(b, closed), x.cutAt)
	var controls map[string]uint64
	for _, s := range x.settings {
		if controls == nil {
			controls = map[string]uint64{}
		}
		controls[s.what] = s.position
	}
	return appendMap(b, controls)
}

func (c *customer) appendID(b []byte) []byte {
	if c.length == longID {
		return wire.AppendText(b, c.extra.id)
	}
	return wire.AppendText(b, c.name[:c.length])
}

func appendMap[V any](b []byte, m map[string]V) []byte {
	if m == nil {
		return wire.AppendNil(b)
	}
	encoded, err := wire.Marshal(m)
	if err != nil {
		panic(err) // plain fields
	}
	return append(b, encoded...)
}

// append appends the window as a windowRec; whole takes all buckets and
// members.
func (u *usage) append(b []byte, c *customer, whole bool) []byte {
	d := u.detail
	if d == nil {
		d = &detail{}
	}
	b = c.appendID(wire.AppendArray(b, windowFields))
	b = wire.AppendText(b, u.feature.name)
	b = wire.AppendInt(wire.AppendInt(b, u.start), u.end)
	b = wire.AppendInt(appendValue(b, u.used), u.events)
	b = wire.AppendInt(wire.AppendInt(b, u.firstAt), u.lastAt)
	b = wire.AppendInt(wire.AppendUint(b, u.seq), u.storedAt)
	b = wire.AppendInt(wire.AppendBool(b, u.closed), d.dropped)
	b = appendBuckets(b, d, whole)
	b = appendMembers(b, d, whole)
	return wire.AppendText(b, d.plan)
}

func appendValue(b []byte, v events.Value) []byte {
	return wire.AppendInt(wire.AppendInt(wire.AppendArray(b, 2), v.Units), int64(v.Nanos))
}

func appendBuckets(b []byte, d *detail, whole bool) []byte {
	buckets := d.buckets
	if !whole {
		buckets = nil
		for _, start := range d.newBuckets {
			if i, found := d.bucket(start); found {
				buckets = append(buckets, d.buckets[i])
			}
		}
	}
	if len(buckets) == 0 {
		return wire.AppendNil(b)
	}
	b = wire.AppendArray(b, len(buckets))
	for _, bu := range buckets {
		b = appendValue(wire.AppendInt(wire.AppendArray(b, 2), bu.Start), bu.Used)
	}
	return b
}

func appendMembers(b []byte, d *detail, whole bool) []byte {
	hashes := make([]uint64, 0, max(len(d.newMembers), len(d.members)))
	if whole {
		hashes = slices.AppendSeq(hashes, maps.Keys(d.members))
	} else {
		for h := range d.newMembers {
			if _, ok := d.members[h]; ok {
				hashes = append(hashes, h)
			}
		}
	}
	if len(hashes) == 0 {
		return wire.AppendNil(b)
	}
	slices.Sort(hashes)
	b = wire.AppendArray(b, len(hashes))
	for _, h := range hashes {
		b = wire.AppendInt(wire.AppendUint(wire.AppendArray(b, 2), h), d.members[h])
	}
	return b
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

// ns is t in nanoseconds since 1970; 0 when nothing was stored yet.
func ns(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
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
	x := c.rare()
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
		u.detailed().plan = r.Plan
	}
	for _, b := range r.Buckets {
		u.setBucket(b)
	}
	for _, m := range r.Members {
		if u.detailed().members == nil {
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
	d := u.detailed()
	i, found := d.bucket(b.Start)
	if !found {
		d.buckets = slices.Insert(d.buckets, i, b)
	}
	d.buckets[i], d.sums.valid = b, false
}

// encode is r with customers and windows of some of them: whole, or what
// changed. It goes through them once, for what they are is in no cache of the
// processor; and what is large comes first, so that it need not be copied.
func (s *state) encode(r *record, some iter.Seq[*customer], whole bool, size int) ([]byte, error) {
	rest, err := wire.Marshal(r)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, size+len(rest)), rest[0], windowsKey) // a map of few entries begins with one byte
	b = wire.BeginList(b)
	customers, windows := wire.BeginList([]byte{customersKey}), 0
	changed := 0
	var ws []*usage
	for c := range some {
		if whole || c.changed {
			customers = c.append(customers)
			changed++
		}
		ws = c.sortedWindows(ws)
		for _, u := range ws {
			if whole || u.changed {
				b = u.append(b, c, whole)
				windows++
			}
		}
	}
	wire.EndList(b, 2, windows)
	wire.EndList(customers, 1, changed)
	b[0] += 2
	return append(append(b, customers...), rest[1:]...), nil
}

// snapshot is the whole state with what r says besides, in an order that
// depends on nothing but the stream.
func (s *state) snapshot(r record) (b []byte, err error) {
	if r.Base, err = json.Marshal(s.base); err != nil {
		return nil, err
	}
	r.Catalog = []byte(digest(s.catalog))
	r.Position, r.StoredAt, r.Hour = s.position, ns(s.storedAt), s.hour
	return s.encode(&r, s.customers.all, true, 200*int(s.customers.n))
}

// sortedWindows are all windows of a customer; room is used for them.
func (c *customer) sortedWindows(room []*usage) []*usage {
	if c.more == nil && c.first.feature != nil { // as usual
		return append(room[:0], &c.first)
	}
	room = slices.AppendSeq(room[:0], c.windows)
	slices.SortFunc(room, compareUsage)
	return room
}
