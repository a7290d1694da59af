package client

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// table maps (customer, feature) to a *T. Readers take no lock and see each
// key's newest value or the one before; writers must take turns. Keys are never
// taken out: a table without them is built aside and published in its place.
type table[T any] struct {
	slots atomic.Pointer[[]slot[T]] // a power of two
	used  int                       // the writer's
}

// slot is empty until its hash is set, which happens once and after the value.
type slot[T any] struct {
	hash  atomic.Uint64
	value atomic.Pointer[T]
}

// keyed is what a table can hold: it knows the key it stands under.
type keyed[T any] interface {
	*T
	is(customer, feature string) bool
}

const smallestTable = 64

func newTable[T any](n int) *table[T] {
	size := smallestTable
	for size*3/4 <= n {
		size *= 2
	}
	t := &table[T]{}
	s := make([]slot[T], size)
	t.slots.Store(&s)
	return t
}

// find returns the value of a key, or nil.
func find[T any, P keyed[T]](t *table[T], h uint64, customer, feature string) P {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch slots[i].hash.Load() {
		case h:
			if p := P(slots[i].value.Load()); p.is(customer, feature) {
				return p
			}
		case 0:
			return nil
		}
	}
}

// put sets the value of a key.
func put[T any, P keyed[T]](t *table[T], h uint64, customer, feature string, value P) {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch slots[i].hash.Load() {
		case h:
			if P(slots[i].value.Load()).is(customer, feature) {
				slots[i].value.Store(value)
				return
			}
		case 0:
			if t.used++; t.used > len(slots)*3/4 {
				slots = t.grow(slots)
				place(slots, h, value)
				return
			}
			slots[i].value.Store(value)
			slots[i].hash.Store(h)
			return
		}
	}
}

// place puts a new key into slots that have room for it.
func place[T any](slots []slot[T], h uint64, value *T) {
	mask := uint64(len(slots) - 1)
	i := h & mask
	for slots[i].hash.Load() != 0 {
		i = (i + 1) & mask
	}
	slots[i].value.Store(value)
	slots[i].hash.Store(h)
}

func (t *table[T]) grow(old []slot[T]) []slot[T] {
	slots := make([]slot[T], 2*len(old))
	for i := range old {
		if h := old[i].hash.Load(); h != 0 {
			place(slots, h, old[i].value.Load())
		}
	}
	t.slots.Store(&slots)
	return slots
}

// each calls f with every key's hash and value.
func (t *table[T]) each(f func(h uint64, value *T)) {
	slots := *t.slots.Load()
	for i := range slots {
		if h := slots[i].hash.Load(); h != 0 {
			f(h, slots[i].value.Load())
		}
	}
}

// hasher hashes keys, differently in every process.
type hasher struct{ customer, feature maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

func (s hasher) hash(customer, feature string) uint64 {
	h := maphash.String(s.customer, customer) ^ bits.RotateLeft64(maphash.String(s.feature, feature), 31)
	if h == 0 {
		return 1 // 0 marks an empty slot
	}
	return h
}
