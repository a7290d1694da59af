package client

import "sync/atomic"

// counters is a table of the counts of one shard. Readers take no lock; writers
// must take turns. Counts are never taken out: a table without them is built
// aside and published in its place.
type counters struct {
	slots atomic.Pointer[[]counterSlot] // a power of two
	used  int                           // the writers'
}

// counterSlot is empty until its hash is set, which happens once and last.
type counterSlot struct {
	hash  atomic.Uint64
	count atomic.Pointer[counter]
}

// counter is one customer's count of one feature.
type counter struct {
	atomic.Pointer[tally]
	hash              uint64
	customer, feature string
}

func (t *counter) set(next tally) { t.Store(&next) }

const smallestTable = 64

func newCounters(n int) *counters {
	size := smallestTable
	for size*3/4 <= n {
		size *= 2
	}
	t := &counters{}
	s := make([]counterSlot, size)
	t.slots.Store(&s)
	return t
}

// find returns a customer's count, or nil.
func (t *counters) find(h uint64, customer, feature string) *counter {
	slots := *t.slots.Load()
	for i := h; ; i++ {
		s := &slots[i&uint64(len(slots)-1)]
		switch s.hash.Load() {
		case h:
			if one := s.count.Load(); one.customer == customer && one.feature == feature {
				return one
			}
		case 0:
			return nil
		}
	}
}

// add puts in a count whose key is not there.
func (t *counters) add(one *counter) {
	slots := *t.slots.Load()
	if t.used++; t.used > len(slots)*3/4 {
		old := slots
		slots = make([]counterSlot, 2*len(old))
		for i := range old {
			if c := old[i].count.Load(); c != nil {
				placeCounter(slots, c)
			}
		}
		t.slots.Store(&slots)
	}
	placeCounter(slots, one)
}

func placeCounter(slots []counterSlot, one *counter) {
	i := one.hash
	for slots[i&uint64(len(slots)-1)].hash.Load() != 0 {
		i++
	}
	s := &slots[i&uint64(len(slots)-1)]
	s.count.Store(one)
	s.hash.Store(one.hash)
}

// each calls f with every count.
func (t *counters) each(f func(*counter)) {
	slots := *t.slots.Load()
	for i := range slots {
		if one := slots[i].count.Load(); one != nil {
			f(one)
		}
	}
}
