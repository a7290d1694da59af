package client

import (
	"hash/maphash"
	"sync/atomic"
)

// table maps (customer, feature) to a V. Readers take no lock and see each
// key's newest value or the one before; writers must take turns. Keys are never
// taken out: a table without them is built aside and published in its place.
type table[V any] struct {
	slots atomic.Pointer[[]slot[V]] // a power of two
	used  int                       // the writer's
}

// slot is empty until its hash is set, which happens once and after the node.
type slot[V any] struct {
	hash atomic.Uint64
	node atomic.Pointer[node[V]]
}

// node is a key and its value. Keys of the usual lengths stand beside the
// value, so that comparing them costs no further miss of the processor's cache.
type node[V any] struct {
	head     [39]byte
	size     uint8 // of a customer that fits into head, else longer
	feature  string
	v        V
	customer *string
}

const longer = 255

func newNode[V any](customer, feature string, v V) *node[V] {
	n := &node[V]{customer: &customer, feature: feature, v: v, size: longer}
	if len(customer) <= len(n.head) {
		n.size = uint8(copy(n.head[:], customer))
	}
	return n
}

func (n *node[V]) is(customer, feature string) bool {
	if n.size == longer {
		return *n.customer == customer && n.feature == feature
	}
	return string(n.head[:n.size]) == customer && n.feature == feature
}

const smallestTable = 64

func newTable[V any](n int) *table[V] {
	size := smallestTable
	for size*3/4 <= n {
		size *= 2
	}
	t := &table[V]{}
	s := make([]slot[V], size)
	t.slots.Store(&s)
	return t
}

// find returns where the value of a key is, or nil.
func (t *table[V]) find(h uint64, customer, feature string) *V {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := &slots[i&uint64(len(slots)-1)] // spares the check of the bounds
		switch s.hash.Load() {
		case h:
			if n := s.node.Load(); n.is(customer, feature) {
				return &n.v
			}
		case 0:
			return nil
		}
	}
}

// put sets the value of a node's key; the node must not change any more.
func (t *table[V]) put(h uint64, n *node[V]) {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch slots[i].hash.Load() {
		case h:
			if slots[i].node.Load().is(*n.customer, n.feature) {
				slots[i].node.Store(n)
				return
			}
		case 0:
			if t.used++; t.used > len(slots)*3/4 {
				slots = t.grow(slots)
			}
			place(slots, h, n)
			return
		}
	}
}

// place puts a new key into slots that have room for it.
func place[V any](slots []slot[V], h uint64, n *node[V]) {
	mask := uint64(len(slots) - 1)
	i := h & mask
	for slots[i].hash.Load() != 0 {
		i = (i + 1) & mask
	}
	slots[i].node.Store(n)
	slots[i].hash.Store(h)
}

func (t *table[V]) grow(old []slot[V]) []slot[V] {
	slots := make([]slot[V], 2*len(old))
	for i := range old {
		if h := old[i].hash.Load(); h != 0 {
			place(slots, h, old[i].node.Load())
		}
	}
	t.slots.Store(&slots)
	return slots
}

// each calls f with every key's hash and node.
func (t *table[V]) each(f func(h uint64, n *node[V])) {
	slots := *t.slots.Load()
	for i := range slots {
		if h := slots[i].hash.Load(); h != 0 {
			f(h, slots[i].node.Load())
		}
	}
}

// hasher hashes keys, differently in every process. Customers are many, and
// their ids may be chosen by strangers; features are few and the operator's, so
// their length and three letters do, and save a quarter of a check's time.
type hasher struct{ seed maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed()} }

func (s hasher) hash(customer, feature string) uint64 {
	h := maphash.String(s.seed, customer)
	if n := uint(len(feature)); n > 0 {
		h += (uint64(n) | uint64(feature[0])<<8 | uint64(feature[n/2])<<16 | uint64(feature[n-1])<<24) * 0x9E3779B97F4A7C15
	}
	if h == 0 {
		return 1 // 0 marks an empty slot
	}
	return h
}
