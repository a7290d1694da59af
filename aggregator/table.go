package aggregator

import (
	"hash/maphash"
	"math/bits"
)

// table is the customers of a partition, numbered in the order in which they
// appeared. Nobody ever leaves it.
//
// An event waits for memory in two places only, its slot and its customer: a
// map of strings to pointers led to half a dozen, and that was most of what an
// event of one in a million customers cost. Customers lie in a few large pieces,
// which spares the garbage collector a million small ones.
type table struct {
	seed  maphash.Seed
	slots []uint64 // of an id's hash: 32 bits of it, and below the customer's number + 1; 0: free
	parts []*[tablePart]customer
	n     uint32
}

// tablePart is so large that the parts, and with them the customers, begin
// where lines of the processor's cache do.
const tablePart = 256

func newTable() table { return table{seed: maphash.MakeSeed()} }

// find is a customer, or nil.
func (t *table) find(id string) *customer { return t.look(t.hash(id), id) }

func (t *table) hash(id string) uint32 { return uint32(maphash.String(t.seed, id)) }

// slot is the first one to look at for a hash.
func (t *table) slot(hash uint32) uint64 {
	if t.n == 0 {
		return 0
	}
	return t.slots[hash&uint32(len(t.slots)-1)]
}

// look is find, given the id's hash.
func (t *table) look(hash uint32, id string) *customer {
	if t.n == 0 {
		return nil
	}
	for i := hash; ; i++ {
		slot := t.slots[i&uint32(len(t.slots)-1)]
		if slot == 0 {
			return nil
		}
		if uint32(slot>>32) == hash {
			if c := t.at(uint32(slot) - 1); c.is(id) {
				return c
			}
		}
	}
}

// at is the customer of a number.
func (t *table) at(n uint32) *customer { return &t.parts[n/tablePart][n%tablePart] }

// all are the customers by number.
func (t *table) all(yield func(*customer) bool) {
	for n := range t.n {
		if !yield(t.at(n)) {
			return
		}
	}
}

// add makes a customer that is not there yet.
func (t *table) add(id string) *customer {
	if int(t.n)*4 >= len(t.slots)*3 {
		t.grow()
	}
	if t.n%tablePart == 0 {
		t.parts = append(t.parts, new([tablePart]customer))
	}
	t.put(uint64(t.hash(id))<<32 | uint64(t.n+1))
	c := t.at(t.n)
	c.number = t.n
	c.setID(id)
	t.n++
	return c
}

func (t *table) put(slot uint64) {
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
			t.put(slot)
		}
	}
}

// numbers is a set of customers' numbers: a bit for each, so that going through
// it goes through the customers as they lie in memory, and needs no sorting.
type numbers struct {
	bits []uint64
	some bool // it is not empty
}

func (s *numbers) add(n uint32) {
	for int(n/64) >= len(s.bits) {
		s.bits = append(s.bits, 0)
	}
	s.bits[n/64] |= 1 << (n % 64)
	s.some = true
}

// all are the numbers, ascending.
func (s *numbers) all(yield func(uint32) bool) {
	if !s.some {
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

func (s *numbers) has(n uint32) bool {
	return int(n/64) < len(s.bits) && s.bits[n/64]&(1<<(n%64)) != 0
}

func (s *numbers) len() (n int) {
	for _, word := range s.bits {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s *numbers) clear() {
	if s.some {
		clear(s.bits)
		s.some = false
	}
}
