// Package fingerprint remembers which events were counted: 64 bits of a hash of
// subject, source and id, with the hour in which the event was stored. A Set
// holds them in memory, an Archive in a store, behind filters.
//
// Two different events share a fingerprint with a probability of n / 2^64 for n
// remembered ones: with a billion in a partition, once in 18 billion events.
package fingerprint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Of is the fingerprint of an event's identity.
func Of(subject, source, id string) uint64 {
	var buf [256]byte
	// Lengths keep ("a", "bc") and ("ab", "c") apart.
	b := binary.AppendUvarint(buf[:0], uint64(len(subject)))
	b = append(b, subject...)
	b = binary.AppendUvarint(b, uint64(len(source)))
	b = append(b, source...)
	b = append(b, id...)
	return xxhash.Sum64(b)
}

// Hour is the hour of a moment, counted from 1970.
func Hour(t time.Time) uint32 { return uint32(t.Unix() / 3600) }

// Set is fingerprints of one partition in memory. The zero value is empty. An entry
// counts until the horizon after its hour has passed, whenever it is removed.
type Set struct {
	hours map[uint64]uint32
	swept uint32
}

// Has says whether fp was added in one of the hours from oldest on.
func (s *Set) Has(fp uint64, oldest uint32) bool {
	h, ok := s.hours[fp]
	return ok && h >= oldest
}

// Add remembers fp as of an hour.
func (s *Set) Add(fp uint64, hour uint32) {
	if s.hours == nil {
		s.hours = map[uint64]uint32{}
	}
	s.hours[fp] = max(hour, s.hours[fp])
}

// Len is how many fingerprints are remembered.
func (s *Set) Len() int { return len(s.hours) }

// Sweep removes what is older than oldest, at most once a day.
func (s *Set) Sweep(oldest uint32) {
	if oldest < s.swept+24 {
		return
	}
	s.swept = oldest
	for fp, h := range s.hours {
		if h < oldest {
			delete(s.hours, fp)
		}
	}
}

// Entry is one remembered fingerprint.
type Entry struct {
	FP   uint64
	Hour uint32
}

// Encode packs entries: for every hour its number, how many follow, and those,
// 8 bytes each. It sorts entries.
func Encode(entries []Entry) []byte {
	slices.SortFunc(entries, compare)
	b := make([]byte, 0, 8*len(entries)+16)
	for i := 0; i < len(entries); {
		j := i
		for j < len(entries) && entries[j].Hour == entries[i].Hour {
			j++
		}
		b = binary.BigEndian.AppendUint32(b, entries[i].Hour)
		b = binary.BigEndian.AppendUint32(b, uint32(j-i))
		for ; i < j; i++ {
			b = binary.BigEndian.AppendUint64(b, entries[i].FP)
		}
	}
	return b
}

func compare(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.FP, b.FP))
}

// Decode hands the packed entries to f.
func Decode(b []byte, f func(Entry)) error {
	for len(b) > 0 {
		if len(b) < 8 {
			return fmt.Errorf("fingerprints end in the middle of an hour")
		}
		hour, n := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
		b = b[8:]
		if n > len(b)/8 {
			return fmt.Errorf("fingerprints of hour %d: %d announced, %d there", hour, n, len(b)/8)
		}
		for ; n > 0; n-- {
			f(Entry{binary.BigEndian.Uint64(b), hour})
			b = b[8:]
		}
	}
	return nil
}
