package aggregator

import (
	"hash/maphash"
	"math/bits"
)

// table is a hash table of the customers of a partition. It numbers them in the
// order in which they appear, and never removes one.
//
// With a million customers, most of the time of an event goes into waiting for
// memory. Here it waits twice, for the slot and for the customer; a map from
// strings to pointers makes it wait about six times. The customers are in a few
// large arrays, so that the garbage collector does not see a million objects.
type table struct {
	seed  maphash.Seed
	slots []uint64 // upper half: hash of the id; lower half: number of the customer + 1; 0: free
	parts []*[partSize]customer
	n     uint32 // of customers
}

// partSize is the number of customers in an array. Arrays of this size, and so the
// customers, begin at the beginning of a line of the processor's cache.
const partSize = 256

func newTable() table { return table{seed: maphash.MakeSeed()} }

// find returns the customer with that id, or nil.
func (t *table) find(id string) *customer { return t.findHashed(t.hash(id), id) }

func (t *table) hash(id string) uint32 { return uint32(maphash.String(t.seed, id)) }

// firstSlot returns the slot at which the search for a hash begins.
func (t *table) firstSlot(hash uint32) uint64 {
	if t.n == 0 {
		return 0
	}
	return t.slots[hash&uint32(len(t.slots)-1)]
}

// findHashed is find for a caller that has the hash of the id.
func (t *table) findHashed(hash uint32, id string) *customer {
	if t.n == 0 {
		return nil
	}
	for i := hash; ; i++ {
		slot := t.slots[i&uint32(len(t.slots)-1)]
		if slot == 0 {
			return nil
		}
		if uint32(slot>>32) == hash {
			if c := t.at(uint32(slot) - 1); c.hasID(id) {
				return c
			}
		}
	}
}

// at returns the customer with that number.
func (t *table) at(n uint32) *customer { return &t.parts[n/partSize][n%partSize] }

// all calls yield with each customer, by number.
func (t *table) all(yield func(*customer) bool) {
	for n := range t.n {
		if !yield(t.at(n)) {
			return
		}
	}
}

// add adds a customer, whose id must not be in the table yet.
func (t *table) add(id string) *customer {
	if int(t.n)*4 >= len(t.slots)*3 {
		t.grow()
	}
	if t.n%partSize == 0 {
		t.parts = append(t.parts, new([partSize]customer))
	}
	t.insert(uint64(t.hash(id))<<32 | uint64(t.n+1))
	c := t.at(t.n)
	c.number = t.n
	c.setID(id)
	t.n++
	return c
}

func (t *table) insert(slot uint64) {
	i := uint32(slot >> 32)
	for t.slots[i&uint32(len(t.slots)-1)] != 0 {
		i++
	}
	t.slots[i&uint32(len(t.slots)-1)] = slot
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, max(64, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			t.insert(slot)
		}
	}
}

// numberSet is a set of customers' numbers. It has a bit for each number, so a loop
// over it visits the customers in the order of their memory, without sorting.
type numberSet struct {
	bits     []uint64
	nonEmpty bool
}

func (s *numberSet) add(n uint32) {
	for int(n/64) >= len(s.bits) {
		s.bits = append(s.bits, 0)
	}
	s.bits[n/64] |= 1 << (n % 64)
	s.nonEmpty = true
}

// all calls yield with each number, ascending.
func (s *numberSet) all(yield func(uint32) bool) {
	if !s.nonEmpty {
		return
	}
	for i, word := range s.bits {
		for ; word != 0; word &= word - 1 {
			if !yield(uint32(i*64 + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

func (s *numberSet) has(n uint32) bool {
	return int(n/64) < len(s.bits) && s.bits[n/64]&(1<<(n%64)) != 0
}

func (s *numberSet) len() (n int) {
	for _, word := range s.bits {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s *numberSet) clear() {
	if s.nonEmpty {
		clear(s.bits)
		s.nonEmpty = false
	}
}
