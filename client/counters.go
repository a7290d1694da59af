package client

import (
	"runtime"
	"sync/atomic"

	"github.com/tidegate-io/tidegate/events"
)

// counters is a table of the counts of one shard. Readers take no lock; writers
// must take turns. Counts are never taken out: a table without them is built
// aside and published in its place.
//
// Counting costs as much as fetching the count from memory. So the slots are small enough to
// stay in the processor's cache, and all of a count stands in one place.
type counters struct {
	slots  atomic.Pointer[[]atomic.Uint32] // a power of two; see numberBits
	chunks [tallyMost / countersChunk]*[countersChunk]counter
	used   int // the writers'
}

const (
	countersChunk = 64
	smallestTable = 64
)

// counter is one customer's count of one feature: three lines of the processor's
// cache, with the customer in it if the id has a usual length.
type counter struct {
	hash    uint64
	feature *string
	// Readers get a consistent part of the tally: turn is odd while it changes. A
	// record changes one number, and no turn: an atomic store costs as much as all
	// the rest that is done here.
	turn   atomic.Uint64
	used   atomic.Int64  // units
	others atomic.Int64  // units
	nanos  atomic.Uint64 // of both
	end    atomic.Int64
	hour   atomic.Int64

	book          // the writers'
	long  *string // the customer, or nil
	size  uint8
	short [47]byte
}

// bound is the part of the tally that readers need.
func (t *counter) bound() bound {
	for {
		turn := t.turn.Load()
		b := t.read()
		if t.turn.Load() == turn && turn&1 == 0 {
			return b
		}
		runtime.Gosched() // the writer needs some nanoseconds, once it runs
	}
}

func (t *counter) read() bound {
	nanos := t.nanos.Load()
	return bound{
		used:   events.Value{Units: t.used.Load(), Nanos: int32(nanos >> 32)},
		others: events.Value{Units: t.others.Load(), Nanos: int32(nanos)},
		end:    t.end.Load(), hour: t.hour.Load(),
	}
}

// tally is all of it, for writers.
func (t *counter) tally() tally { return tally{t.read(), t.book} }

func (t *counter) set(next tally) {
	t.book = next.book
	old := t.read()
	if old.used.Units = next.used.Units; old == next.bound { // as almost always
		t.used.Store(next.used.Units)
		return
	}
	t.turn.Add(1)
	t.used.Store(next.used.Units)
	t.others.Store(next.others.Units)
	t.nanos.Store(uint64(next.used.Nanos)<<32 | uint64(uint32(next.others.Nanos)))
	t.end.Store(next.end)
	t.hour.Store(next.hour)
	t.turn.Add(1)
}

func (t *counter) is(h uint64, customer, feature string) bool {
	if t.hash != h {
		return false
	}
	if t.long != nil {
		return *t.long == customer && *t.feature == feature
	}
	return string(t.short[:t.size]) == customer && *t.feature == feature
}

func (t *counter) customer() string {
	if t.long != nil {
		return *t.long
	}
	return string(t.short[:t.size])
}

func newCounters(n int) *counters {
	size := smallestTable
	for size*4/5 <= n {
		size *= 2
	}
	t := &counters{}
	s := make([]atomic.Uint32, size)
	t.slots.Store(&s)
	return t
}

// A slot is 0 until there is a count; then it has the count's number, from 1, and
// above some bits of the hash.
const numberBits = 14 // tallyMost fits

func tagOfCount(h uint64) uint32 { return uint32(h>>28) >> numberBits << numberBits }

func (t *counters) at(slot uint32) *counter {
	n := slot&(1<<numberBits-1) - 1
	return &t.chunks[n/countersChunk][n%countersChunk]
}

// find returns a customer's count, or nil.
func (t *counters) find(h uint64, customer, feature string) *counter {
	slots := *t.slots.Load()
	for i := h; ; i++ {
		s := slots[i&uint64(len(slots)-1)].Load()
		if s == 0 {
			return nil
		}
		if (s^tagOfCount(h))>>numberBits == 0 {
			if one := t.at(s); one.is(h, customer, feature) {
				return one
			}
		}
	}
}

// add puts in a count whose key is not there.
func (t *counters) add(h uint64, customer string, feature *string, first tally) {
	slots := *t.slots.Load()
	if t.used+1 > len(slots)*4/5 {
		slots = make([]atomic.Uint32, 2*len(slots))
		for n := range t.used {
			place(slots, t.at(uint32(n+1)).hash, n+1)
		}
		t.slots.Store(&slots)
	}
	if c := &t.chunks[t.used/countersChunk]; *c == nil {
		*c = new([countersChunk]counter)
	}
	t.used++
	one := t.at(uint32(t.used))
	one.hash, one.feature = h, feature
	if len(customer) > len(one.short) {
		one.long = &customer
	} else {
		one.size = uint8(copy(one.short[:], customer))
	}
	one.set(first)
	place(slots, h, t.used)
}

func place(slots []atomic.Uint32, h uint64, number int) {
	i := h
	for slots[i&uint64(len(slots)-1)].Load() != 0 {
		i++
	}
	slots[i&uint64(len(slots)-1)].Store(tagOfCount(h) | uint32(number))
}

// each calls f with every count.
func (t *counters) each(f func(one *counter)) {
	for n := range t.used {
		f(t.at(uint32(n + 1)))
	}
}
