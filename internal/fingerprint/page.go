package fingerprint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// A page is a message of SEEN: entries sorted by fingerprint, each once, 10
// bytes an entry, so that it is searched as it is. It holds the newest entry's
// hour, the fingerprints, and how many hours older than that one each is.
type page struct {
	hour uint32
	fps  []byte
	ages []byte
}

const (
	pageHead  = 4
	pageEntry = 10
	// maxAge is far beyond any horizon: who is older may as well be this old.
	maxAge = 1<<16 - 1
)

// packPage packs sorted, distinct entries.
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

// find is the hour of a fingerprint.
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

// distinct sorts entries by fingerprint and leaves of each the newest.
func distinct(entries []Entry) []Entry {
	sortByFP(entries)
	return slices.CompactFunc(entries, func(a, b Entry) bool { return a.FP == b.FP })
}

// newestFirst is the order of fingerprints, of each the newest first.
func newestFirst(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.FP, b.FP), cmp.Compare(b.Hour, a.Hour))
}

// fewEntries are sorted by insertion.
const fewEntries = 16

// sortByFP sorts into the order of newestFirst. Fingerprints are spread evenly:
// their first bits take almost all of them nearly to where they belong, at a
// fifth of what comparing costs.
func sortByFP(entries []Entry) {
	shift := 66 - bits.Len(uint(len(entries))) // some four in a bucket
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
	if len(bucket) > fewEntries { // somebody has chosen them
		slices.SortFunc(bucket, newestFirst)
		return
	}
	for i := 1; i < len(bucket); i++ {
		for j := i; j > 0 && newestFirst(bucket[j], bucket[j-1]) < 0; j-- {
			bucket[j], bucket[j-1] = bucket[j-1], bucket[j]
		}
	}
}
