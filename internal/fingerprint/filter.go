package fingerprint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/FastFilter/xorfilter"
)

// errFilter is returned for stored bytes that are no filter.
var errFilter = errors.New("not a filter of fingerprints")

// Filter reports whether a fingerprint may be in a page. It is wrong for about one in
// 4096 of the fingerprints that are not in the page, and never for those that are. It
// is a packed binary fuse filter (Graf and Lemire, 2022) of 12 bits: less than 1.9
// bytes for each entry in pages of the default size.
//
// Filters are stored. So the code that reads them is here, and the library only builds
// them.
type Filter struct {
	seed    uint64
	segment uint32 // slots in a segment, a power of two
	first   uint32 // number of slots that may be a fingerprint's first
	slots   []byte // three bytes for two slots
}

const filterBits = 12

// newFilter returns the filter of distinct fingerprints; there must be at least one.
func newFilter(b *xorfilter.BinaryFuseBuilder, fps []uint64) (Filter, error) {
	fuse, err := xorfilter.BuildBinaryFuse[uint16](b, fps)
	if err != nil {
		return Filter{}, fmt.Errorf("filter of %d fingerprints: %w", len(fps), err)
	}
	f := Filter{seed: fuse.Seed, segment: fuse.SegmentLength, first: fuse.SegmentCountLength}
	// A slot's bits do not depend on each other: the lower 12 bits of all slots are
	// a filter of 12 bits.
	f.slots = make([]byte, packedSize(len(fuse.Fingerprints)))
	for i, v := range fuse.Fingerprints {
		at, v := i+i/2, v&(1<<filterBits-1)
		if i%2 == 1 {
			v <<= 4
		}
		f.slots[at] |= byte(v)
		f.slots[at+1] |= byte(v >> 8)
	}
	for _, fp := range fps {
		if !f.MayHave(fp) { // otherwise its event could be counted twice
			return Filter{}, fmt.Errorf("%w: it lacks one of its %d", errFilter, len(fps))
		}
	}
	return f, nil
}

func packedSize(slots int) int { return (slots*filterBits + 7) / 8 }

// MayHave reports whether fp may be in the page. It returns true for every fingerprint
// of the page.
func (f *Filter) MayHave(fp uint64) bool { return f.passes(murmur64(fp + f.seed)) }

func murmur64(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// passes is MayHave for the fingerprint's hash with the filter's seed.
func (f *Filter) passes(h uint64) bool {
	hi, _ := bits.Mul64(h, uint64(f.first))
	h0 := uint32(hi)
	h1, h2 := h0+f.segment, h0+2*f.segment
	h1 ^= uint32(h>>18) & (f.segment - 1)
	h2 ^= uint32(h) & (f.segment - 1)
	v := uint16(h^h>>32) ^ f.slot(h0) ^ f.slot(h1) ^ f.slot(h2)
	return v&(1<<filterBits-1) == 0
}

// slot returns a slot's value in the lower 12 bits; the upper bits are undefined.
func (f *Filter) slot(i uint32) uint16 {
	at := i + i/2
	return (uint16(f.slots[at]) | uint16(f.slots[at+1])<<8) >> (i % 2 * 4)
}

// append appends the encoded filter: seed, segment, first slots, and the slots.
func (f *Filter) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, f.seed)
	b = binary.BigEndian.AppendUint32(b, f.segment)
	b = binary.BigEndian.AppendUint32(b, f.first)
	return append(b, f.slots...)
}

// parseFilter decodes one filter and returns the rest of b. The filter's slots share
// b's memory.
func parseFilter(b []byte) (f Filter, rest []byte, err error) {
	const head = 16
	if len(b) < head {
		return f, nil, fmt.Errorf("%w: %d bytes", errFilter, len(b))
	}
	f.seed, f.segment, f.first = binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	size := packedSize(int(f.first) + 2*int(f.segment))
	if bits.OnesCount32(f.segment) != 1 || f.first == 0 || f.first%f.segment != 0 || size > len(b)-head {
		return f, nil, fmt.Errorf("%w: segments of %d, %d slots, %d bytes", errFilter, f.segment, f.first, len(b))
	}
	end := head + size
	f.slots = b[head:end:end]
	return f, b[end:], nil
}
