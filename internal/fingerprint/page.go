package fingerprint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// A page is a message of SEEN: distinct entries sorted by fingerprint, 10 bytes each,
// so that find needs no decoding. It has the newest entry's hour, the fingerprints, and
// for each how many hours it is older than the newest.
type page struct {
	hour uint32
	fps  []byte
	ages []byte
}

const (
	pageHead  = 4
	pageEntry = 10
	// maxAge is longer than any horizon. An older entry gets this age.
	maxAge = 1<<16 - 1
)

// packPage encodes sorted, distinct entries.
func packPage(entries []Entry) []byte {
	newest := uint32(0)
	for _, e := range entries {
		newest = max(newest, e.Hour)
	}
	b := make([]byte, 0, pageHead+pageEntry*len(entries))
	b = binary.BigEndian.AppendUint32(b, newest)
	for _, e := range entries {
		b = binary.BigEndian.AppendUint64(b, e.FP)
	}
	for _, e := range entries {
		b = binary.BigEndian.AppendUint16(b, uint16(min(newest-e.Hour, maxAge)))
	}
	return b
}

func parsePage(b []byte) (page, error) {
	if len(b) < pageHead || (len(b)-pageHead)%pageEntry != 0 {
		return page{}, fmt.Errorf("not a page of fingerprints: %d bytes", len(b))
	}
	n := (len(b) - pageHead) / pageEntry
	return page{hour: binary.BigEndian.Uint32(b), fps: b[pageHead : pageHead+8*n], ages: b[pageHead+8*n:]}, nil
}

func (p *page) len() int { return len(p.ages) / 2 }

func (p *page) fp(i int) uint64 { return binary.BigEndian.Uint64(p.fps[8*i:]) }

func (p *page) entry(i int) Entry {
	return Entry{FP: p.fp(i), Hour: p.hour - min(p.hour, uint32(binary.BigEndian.Uint16(p.ages[2*i:])))}
}

// find returns the hour of a fingerprint. found reports whether the page has it.
func (p *page) find(fp uint64) (hour uint32, found bool) {
	lo, hi := 0, p.len()
	for lo < hi {
		if mid := (lo + hi) / 2; p.fp(mid) < fp {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == p.len() || p.fp(lo) != fp {
		return 0, false
	}
	return p.entry(lo).Hour, true
}

// distinct sorts entries by fingerprint and keeps the newest entry of each.
func distinct(entries []Entry) []Entry {
	sortByFP(entries)
	return slices.CompactFunc(entries, func(a, b Entry) bool { return a.FP == b.FP })
}

// newestFirst orders entries by fingerprint, and those of one fingerprint from the
// newest to the oldest.
func newestFirst(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.FP, b.FP), cmp.Compare(b.Hour, a.Hour))
}

// fewEntries is up to how many entries are sorted by insertion.
const fewEntries = 16

// sortByFP sorts into the order of newestFirst. It first distributes the entries to
// buckets by their leading bits. As fingerprints are evenly distributed, this costs a
// fifth of a sort by comparisons.
func sortByFP(entries []Entry) {
	shift := 66 - bits.Len(uint(len(entries))) // about four in a bucket
	if len(entries) <= fewEntries {
		slices.SortFunc(entries, newestFirst)
		return
	}
	ends := make([]int32, len(entries)>>1+2)
	for _, e := range entries {
		ends[e.FP>>shift]++
	}
	sum := int32(0)
	for i, n := range ends {
		ends[i] = sum
		sum += n
	}
	for _, e := range slices.Clone(entries) {
		at := &ends[e.FP>>shift]
		entries[*at] = e
		*at++
	}
	begin := int32(0)
	for _, end := range ends {
		if bucket := entries[begin:end]; len(bucket) > 1 {
			sortBucket(bucket)
		}
		begin = max(begin, end)
	}
}

func sortBucket(bucket []Entry) {
	if len(bucket) > fewEntries { // an attacker has chosen the fingerprints
		slices.SortFunc(bucket, newestFirst)
		return
	}
	for i := 1; i < len(bucket); i++ {
		for j := i; j > 0 && newestFirst(bucket[j], bucket[j-1]) < 0; j-- {
			bucket[j], bucket[j-1] = bucket[j-1], bucket[j]
		}
	}
}
