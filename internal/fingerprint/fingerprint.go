// Package fingerprint stores which events the aggregator has counted: a 64-bit hash
// of subject, source and id, and the hour in which the event was stored. A Set holds
// fingerprints in memory, an Archive in a store, behind filters. Neither is safe for
// concurrent use, except for Archive.Merge.
//
// An event has the fingerprint of another one with a probability of n / 2^64, when n
// fingerprints are stored: with a billion in a partition, once in 18 billion events.
package fingerprint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Of returns the fingerprint of an event's identity.
func Of(subject, source, id string) uint64 {
	var buf [256]byte
	// With the lengths, ("a", "bc") and ("ab", "c") differ.
	b := binary.AppendUvarint(buf[:0], uint64(len(subject)))
	b = append(b, subject...)
	b = binary.AppendUvarint(b, uint64(len(source)))
	b = append(b, source...)
	b = append(b, id...)
	return xxhash.Sum64(b)
}

// Hour returns the hour of a moment, counted from 1970.
func Hour(t time.Time) uint32 { return uint32(t.Unix() / 3600) }

// Time returns when an hour begins.
func Time(hour uint32) time.Time { return time.Unix(int64(hour)*3600, 0).UTC() }

// Entry is a stored fingerprint.
type Entry struct {
	FP   uint64
	Hour uint32
}

// Encode encodes entries: for each hour its number, the number of its fingerprints,
// and the fingerprints, 8 bytes each. It sorts entries.
func Encode(entries []Entry) []byte {
	sortEntries(entries)
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

// sortEntries sorts by hour, then by fingerprint.
func sortEntries(entries []Entry) {
	for i := range entries {
		if entries[i].Hour != entries[0].Hour {
			slices.SortFunc(entries, compare)
			return
		}
	}
	sortByFP(entries)
}

// Decode calls f with each encoded entry.
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
