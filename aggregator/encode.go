package aggregator

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// This file encodes customers and windows by hand, because there can be a million
// of them and encoding by reflection takes ten times as long. The bytes are those
// that wire.Marshal gives for the structs in record.go.

const (
	customersKey   = 3  // of record.Customers
	windowsKey     = 4  // of record.Windows
	customerFields = 7  // of customerRec
	windowFields   = 15 // of windowRec
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
		controls[s.key] = s.position
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

// append appends the window as a windowRec: with all buckets and members if whole
// is set, else with those that have changed since the last commit.
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

// toNanos returns t in Unix nanoseconds; the zero time gives 0.
func toNanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// encode returns r with the given customers and their windows added: all of them
// if whole is set, else those that have changed. size is the expected number of
// bytes for customers and windows.
//
// It visits each customer once, because loading one from memory takes longer than
// encoding it. The windows come first in the record, because they are the largest
// part and need no copy there.
func (s *state) encode(r *record, customers iter.Seq[*customer], whole bool, size int) ([]byte, error) {
	rest, err := wire.Marshal(r)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, size+len(rest)), rest[0], windowsKey) // a map of up to 23 entries begins with one byte
	b = wire.BeginList(b)
	cs := wire.BeginList([]byte{customersKey})
	customerCount, windowCount := 0, 0
	var ws []*usage
	for c := range customers {
		if whole || c.changed {
			cs = c.append(cs)
			customerCount++
		}
		ws = c.sortedWindows(ws)
		for _, u := range ws {
			if whole || u.changed {
				b = u.append(b, c, whole)
				windowCount++
			}
		}
	}
	wire.EndList(b, 2, windowCount)
	wire.EndList(cs, 1, customerCount)
	b[0] += 2 // the map has two more entries
	return append(append(b, cs...), rest[1:]...), nil
}

// snapshot returns the whole state, with the other fields from r. The order of
// customers and windows depends only on the stream.
func (s *state) snapshot(r record) (b []byte, err error) {
	if r.Base, err = json.Marshal(s.base); err != nil {
		return nil, err
	}
	r.Catalog = []byte(catalogJSON(s.catalog))
	r.Position, r.StoredAt, r.Hour = s.position, toNanos(s.storedAt), s.hour
	return s.encode(&r, s.customers.all, true, 200*int(s.customers.n))
}

// sortedWindows returns all windows of the customer, by feature and start. It
// overwrites buf, which may be nil.
func (c *customer) sortedWindows(buf []*usage) []*usage {
	if c.more == nil && c.first.feature != nil { // the usual case
		return append(buf[:0], &c.first)
	}
	buf = slices.AppendSeq(buf[:0], c.windows)
	slices.SortFunc(buf, compareUsage)
	return buf
}
