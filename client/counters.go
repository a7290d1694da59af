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

// counter is one customer's count of one feature: a line of the processor's
// cache, with the customer in it if the id has a usual length.
type counter struct {
	atomic.Pointer[tally]
	feature *string
	long    *string // the customer, or nil
	size    uint8
	short   [39]byte
}

func newCounter(customer string, feature *string) *counter {
	one := &counter{feature: feature}
	if len(customer) > len(one.short) {
		one.long = &customer
	} else {
		one.size = uint8(copy(one.short[:], customer))
	}
	return one
}

func (t *counter) set(next tally) { t.Store(&next) }

func (t *counter) is(customer, feature string) bool {
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
			if one := s.count.Load(); one.is(customer, feature) {
				return one
			}
		case 0:
			return nil
		}
	}
}

// add puts in a count whose key is not there.
func (t *counters) add(h uint64, one *counter) {
	slots := *t.slots.Load()
	if t.used++; t.used > len(slots)*3/4 {
		old := slots
		slots = make([]counterSlot, 2*len(old))
		for i := range old {
			if c := old[i].count.Load(); c != nil {
				placeCounter(slots, old[i].hash.Load(), c)
			}
		}
		t.slots.Store(&slots)
	}
	placeCounter(slots, h, one)
}

func placeCounter(slots []counterSlot, h uint64, one *counter) {
	i := h
	for slots[i&uint64(len(slots)-1)].hash.Load() != 0 {
		i++
	}
	s := &slots[i&uint64(len(slots)-1)]
	s.count.Store(one)
	s.hash.Store(h)
}

// each calls f with every count and the hash of its key.
func (t *counters) each(f func(h uint64, one *counter)) {
	slots := *t.slots.Load()
	for i := range slots {
		if h := slots[i].hash.Load(); h != 0 {
			f(h, slots[i].count.Load())
		}
	}
}
