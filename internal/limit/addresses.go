package limit

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	rows = 4
	row  = 1 << 14 // buckets
)

// Addresses bounds what each client address takes. It remembers no addresses: each one
// has a bucket in every row, by its hash, which it shares with others, and is refused
// only when all of them are full. So with a thousand addresses over their bound, one
// other in 70,000 is refused with them. The memory is half a MiB, however many
// addresses there are. Make it with NewAddresses; it is safe for concurrent use.
type Addresses struct {
	seed    maphash.Seed
	emptyAt [rows][row]atomic.Int64
}

// NewAddresses returns one in which nothing was taken.
func NewAddresses() *Addresses { return &Addresses{seed: maphash.MakeSeed()} }

// Take takes one unit of an address, as Bucket.Take does. All addresses of a /64 of
// IPv6 are one: a client has that many.
func (a *Addresses) Take(now time.Duration, ip netip.Addr, r Rate) (wait time.Duration) {
	if !r.Bounded() {
		return 0
	}
	mine := a.buckets(ip)
	for {
		lowest, was := mine[0], mine[0].Load()
		for _, b := range mine[1:] {
			if v := b.Load(); v < was {
				lowest, was = b, v
			}
		}
		content := max(time.Duration(was)-now, 0)
		if over := r.over(content); over > 0 {
			return over
		}
		then := int64(now + content + r.each)
		if !lowest.CompareAndSwap(was, then) {
			continue
		}
		for _, b := range mine {
			raise(b, then)
		}
		return 0
	}
}

func (a *Addresses) buckets(ip netip.Addr) (mine [rows]*atomic.Int64) {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		p, _ := ip.Prefix(64) // cannot fail
		ip = p.Addr()
	}
	h := maphash.Comparable(a.seed, ip)
	for i := range mine {
		mine[i] = &a.emptyAt[i][h>>(16*i)%row]
	}
	return mine
}

// raise fills a bucket up, unless it has more in it.
func raise(b *atomic.Int64, to int64) {
	for {
		was := b.Load()
		if was >= to || b.CompareAndSwap(was, to) {
			return
		}
	}
}
