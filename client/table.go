package client

import (
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
)

// table holds decisions by (customer, feature). One goroutine at a time writes;
// readers take no lock. Keys are never taken out: a table without them is built
// aside and published in its place.
type table struct {
	index
	used int
}

// index is the part of a table that readers need. It is replaced when it gets
// full; the slots stay where they are.
//
// Fetching lines of memory is what a check among a million decisions costs, so
// it needs two: a group and a slot. The groups are small enough to stay in the
// processor's cache for the greater part, and slots stand in the order in which
// their keys came, rather than by their hash: scattered, each would need a page of
// its own, and finding out where a page is costs as much as a line. A group is
// searched without a branch that depends on the key: a branch that is foreseen
// wrongly has to wait for its line, and so has all that comes after.
type index struct {
	groups []group  // a power of two
	chunks []*chunk // enough for all groups
}

// group is one line of memory. A slot's tag is a byte of its hash, or 0 while
// there is none, and its number says where it is.
type group struct {
	tags    [2]atomic.Uint64
	numbers [groupSlots]atomic.Uint32
}

const (
	groupSlots = 12
	chunkSlots = 1024
)

// chunk holds slots, and apart from them the windows of their decisions: a check
// knows where both are at the same time, so that it fetches them side by side.
type chunk struct {
	slots   [chunkSlots]slot
	windows [chunkSlots]window
}

// window points to the start and end of a decision's window, which are part of
// its record's more; nil where there is none.
type window struct{ start, end atomic.Pointer[time.Time] }

// slot holds one decision in one line of the processor's cache. A reader gets a
// whole one, since it looks at turn before and after: a writer makes it odd
// while it writes.
type slot struct {
	hash     atomic.Uint64
	turn     atomic.Uint64 // the upper half; the lower one is record.until
	look     atomic.Pointer[shared]
	more     atomic.Pointer[more]
	position atomic.Int64
	decided  atomic.Uint64
	asOf     atomic.Uint64
	rest     atomic.Int64
}

const oneTurn = 1 << 32

// read returns the slot's decision.
func (s *slot) read() record {
	for {
		turn := s.turn.Load()
		r := record{
			look: s.look.Load(), more: s.more.Load(), position: s.position.Load(), decided: moment(s.decided.Load()),
			asOf: moment(s.asOf.Load()), rest: s.rest.Load(), until: uint32(turn),
		}
		if s.turn.Load() == turn && turn&oneTurn == 0 {
			return r
		}
		runtime.Gosched() // the writer needs some nanoseconds, once it runs
	}
}

// write replaces the decision of slot n.
func (x *index) write(n uint32, r record) {
	s, w := x.slot(n), x.window(n)
	turn := s.turn.Load() &^ (oneTurn - 1)
	s.turn.Store(turn + oneTurn)
	s.look.Store(r.look)
	s.more.Store(r.more)
	s.position.Store(r.position)
	s.decided.Store(uint64(r.decided))
	s.asOf.Store(uint64(r.asOf))
	s.rest.Store(r.rest)
	w.start.Store(r.time(hasStart, 0))
	w.end.Store(r.time(hasEnd, 1))
	s.turn.Store(turn + 2*oneTurn + uint64(r.until))
}

// first returns the first slot whose hash is h and its window, or nil.
func (x *index) first(h uint64) (*slot, *window) {
	tag := tagOf(h)
	for i := h; ; i++ {
		g := &x.groups[i&uint64(len(x.groups)-1)]
		low, high := g.tags[0].Load(), g.tags[1].Load()
		for m := equal(low, tag)>>7 | equal(high, tag)>>6; m != 0; m &= m - 1 {
			n := g.number(m)
			if s := x.slot(n); s.hash.Load() == h {
				return s, x.window(n)
			}
		}
		if high>>24 == 0 {
			return nil, nil
		}
	}
}

// number is that of the slot at the first bit of m.
func (g *group) number(m uint64) uint32 {
	bit := bits.TrailingZeros64(m)
	return g.numbers[bit/8+bit%8*8].Load()
}

// slot is the slot of a number.
func (x *index) slot(n uint32) *slot { return &x.chunks[n/chunkSlots].slots[n%chunkSlots] }

// window is the window beside the slot of a number.
func (x *index) window(n uint32) *window { return &x.chunks[n/chunkSlots].windows[n%chunkSlots] }

const eachByte = 0x0101_0101_0101_0101

// tagOf is the hash's tag, in all bytes.
func tagOf(h uint64) uint64 {
	tag := h >> 56
	if tag == 0 {
		tag = 1
	}
	return tag * eachByte
}

// equal has the highest bit of each byte in which a and b are equal.
func equal(a, b uint64) uint64 {
	const low = 0x7F * eachByte
	x := a ^ b
	return ^((x&low + low) | x | low)
}

// all calls f with the numbers of the slots whose hash is h until it returns false.
func (x *index) all(h uint64, f func(n uint32) bool) {
	tag := tagOf(h)
	for i := h; ; i++ {
		g := &x.groups[i&uint64(len(x.groups)-1)]
		low, high := g.tags[0].Load(), g.tags[1].Load()
		for m := equal(low, tag)>>7 | equal(high, tag)>>6; m != 0; m &= m - 1 {
			if n := g.number(m); x.slot(n).hash.Load() == h && !f(n) {
				return
			}
		}
		if high>>24 == 0 {
			return
		}
	}
}

// get returns the decision of a key, or one without a look.
func (x *index) get(h uint64, customer, feature string) record {
	if n, ok, _ := x.search(h, customer, feature); ok {
		return x.slot(n).read()
	}
	return record{}
}

// search returns the number of a key's slot, and those of others that share its
// hash.
func (x *index) search(h uint64, customer, feature string) (mine uint32, ok bool, others []uint32) {
	x.all(h, func(n uint32) bool {
		if r := x.slot(n).read(); r.is(customer, feature) {
			mine, ok = n, true
		} else {
			others = append(others, n)
		}
		return !ok
	})
	return mine, ok, others
}

func newTable(n int) *table {
	size := 8
	for capacity(size) < n {
		size *= 2
	}
	return &table{index: newIndex(size)}
}

func newIndex(groups int) index {
	return index{groups: make([]group, groups), chunks: make([]*chunk, capacity(groups)/chunkSlots+1)}
}

// capacity is how many slots go into groups before few have room left.
func capacity(groups int) int { return groups * groupSlots * 4 / 5 }

// put sets the decision of its key.
func (t *table) put(h uint64, r record) {
	n, ok, others := t.search(h, r.more.customer, r.look.feature)
	if ok {
		r.rest |= t.slot(n).read().rest & contested
		t.write(n, r)
		return
	}
	for _, o := range others {
		old := t.slot(o).read()
		old.rest |= contested
		t.write(o, old)
		r.rest |= contested
	}
	if t.used == capacity(len(t.groups)) {
		t.grow()
	}
	if c := &t.chunks[t.used/chunkSlots]; *c == nil {
		*c = &chunk{}
	}
	n = uint32(t.used)
	t.write(n, r)
	t.slot(n).hash.Store(h)
	t.enter(h, t.used)
	t.used++
}

// enter makes readers find a slot.
func (x *index) enter(h uint64, number int) {
	i := h
	for x.groups[i&uint64(len(x.groups)-1)].tags[1].Load()>>24 != 0 {
		i++
	}
	g := &x.groups[i&uint64(len(x.groups)-1)]
	low, high := (bits.Len64(g.tags[0].Load())+7)/8, (bits.Len64(g.tags[1].Load())+7)/8
	g.numbers[low+high].Store(uint32(number))
	word, at := &g.tags[0], low
	if low == 8 {
		word, at = &g.tags[1], high
	}
	word.Store(word.Load() | tagOf(h)&(0xFF<<(8*at)))
}

func (t *table) grow() {
	old := t.index
	t.index = newIndex(2 * len(old.groups))
	copy(t.chunks, old.chunks)
	for n := range t.used {
		t.enter(t.slot(uint32(n)).hash.Load(), n)
	}
}

// each calls f with every decision.
func (t *table) each(f func(r record)) {
	for n := range t.used {
		f(t.slot(uint32(n)).read())
	}
}

// hasher hashes keys, differently in every process, in the way of wyhash.
type hasher struct{ keys [3]uint64 }

func newHasher() hasher {
	var s hasher
	for i := range s.keys {
		s.keys[i] = maphash.Comparable(maphash.MakeSeed(), i)
	}
	return s
}

// hash calls nothing, for which it would have to put aside what it works on.
func (s *hasher) hash(customer, feature string) uint64 {
	h, k := s.keys[0], s.keys[1]
	for one := customer; ; one = feature {
		n := len(one)
		var last uint64
		switch {
		case n >= 8:
			last = word(one[n-8:])
			for ; len(one) > 8; one = one[8:] {
				h = mix(h^word(one), k)
			}
		case n >= 4:
			last = half(one) | half(one[n-4:])<<32
		case n > 0:
			last = uint64(one[0]) | uint64(one[n/2])<<8 | uint64(one[n-1])<<16
		}
		h = mix(h^last, k+uint64(n))
		if k == s.keys[2] {
			return h
		}
		k = s.keys[2]
	}
}

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// The compiler makes one load of each.
func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func half(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
