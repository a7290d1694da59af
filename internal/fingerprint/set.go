package fingerprint

import (
	"math/bits"
	"math/rand/v2"
)

// Set holds fingerprints of one partition in memory. The zero value is an empty set.
// Has ignores expired entries, so it does not matter when Expire removes them. A Set is
// not safe for concurrent use.
//
// It is a hash table of its own, because every event calls Has and Add, and a map takes
// twice as long.
type Set struct {
	fps     []uint64 // open addressing; 0: free slot; the length is a power of two
	hours   []uint32
	mix     uint64 // odd and random, so that an attacker can't choose slots
	shift   int
	used    int
	zero    Entry // the fingerprint 0, if FP is 1
	expired uint32
}

// slot returns the slot of fp, or the free slot for it.
func (s *Set) slot(fp uint64) int {
	mask := len(s.fps) - 1
	i := int(fp * s.mix >> s.shift)
	for s.fps[i] != fp && s.fps[i] != 0 {
		i = (i + 1) & mask
	}
	return i
}

// Has says whether fp was added in one of the hours from oldest on.
func (s *Set) Has(fp uint64, oldest uint32) bool {
	if fp == 0 {
		return s.zero.FP == 1 && s.zero.Hour >= oldest
	}
	if s.used == 0 {
		return false
	}
	i := s.slot(fp)
	return s.fps[i] != 0 && s.hours[i] >= oldest
}

// Add adds fp with an hour. Of several hours the newest counts.
func (s *Set) Add(fp uint64, hour uint32) {
	if fp == 0 {
		s.zero = Entry{1, max(hour, s.zero.Hour)}
		return
	}
	if s.used >= len(s.fps)/4*3 {
		s.resize(max(2*len(s.fps), 64))
	}
	i := s.slot(fp)
	if s.fps[i] == 0 {
		s.fps[i], s.hours[i] = fp, hour // without reading the hour, which is not in the CPU's cache
		s.used++
		return
	}
	s.hours[i] = max(hour, s.hours[i])
}

func (s *Set) resize(size int) {
	old := *s
	s.fps, s.hours, s.used = make([]uint64, size), make([]uint32, size), 0
	s.mix, s.shift = rand.Uint64()|1, 64-bits.TrailingZeros(uint(size))
	for i, fp := range old.fps {
		if fp != 0 {
			s.Add(fp, old.hours[i])
		}
	}
}

// Len returns the number of fingerprints.
func (s *Set) Len() int { return s.used + int(s.zero.FP) }

// Reset removes all fingerprints. It keeps the memory unless the set is nearly empty.
func (s *Set) Reset() {
	if s.used < len(s.fps)/8 {
		*s = Set{expired: s.expired}
	}
	clear(s.fps)
	s.used, s.zero = 0, Entry{}
}

// Expire removes fingerprints that are older than oldest, at most once a day.
func (s *Set) Expire(oldest uint32) {
	if oldest < s.expired+24 {
		return
	}
	kept := Set{expired: oldest}
	for i, fp := range s.fps {
		if fp != 0 && s.hours[i] >= oldest {
			kept.Add(fp, s.hours[i])
		}
	}
	if s.zero.Hour >= oldest {
		kept.zero = s.zero
	}
	*s = kept
}
