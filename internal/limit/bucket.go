// Package limit bounds how much of something happens in a time. A Bucket is for one
// who does it; Addresses is for all client addresses, in a fixed amount of memory.
//
// Both are leaky buckets: what is taken fills a bucket, and it empties evenly. Time
// is a duration on a clock that never goes back, such as time.Since of a fixed
// moment.
package limit

import (
	"sync/atomic"
	"time"
)

// Rate is how fast a bucket empties and how much it holds. The zero value has no
// bound.
type Rate struct {
	each  time.Duration // in which one unit leaves the bucket; 0: no bound
	burst time.Duration // in which a full bucket empties
}

// Per returns the rate of n in a span of time, of which a burst may hold as much as
// burst allows. With n 0 there is no bound.
func Per(n int, span, burst time.Duration) Rate {
	if n <= 0 {
		return Rate{}
	}
	each := max(span/time.Duration(n), 1)
	return Rate{each, max(burst, each)}
}

// over returns how long it takes until one unit fits to the content of a bucket; 0 or
// less: it fits.
func (r Rate) over(content time.Duration) time.Duration { return content + r.each - r.burst }

// Bounded reports whether there is a bound.
func (r Rate) Bounded() bool { return r.each > 0 }

// Bucket is the bucket of one who takes. The zero value is empty. It is safe for
// concurrent use, and must not be copied.
type Bucket struct {
	emptyAt atomic.Int64
}

// Take takes n units, unless the bucket is full: then it returns how long it takes
// until something fits again. The last units may overfill the bucket, so that n can be
// more than it holds; the next ones wait for that, too.
func (b *Bucket) Take(now time.Duration, n int, r Rate) (wait time.Duration) {
	if !r.Bounded() {
		return 0
	}
	for {
		was := b.emptyAt.Load()
		content := max(time.Duration(was)-now, 0)
		if over := r.over(content); over > 0 {
			return over
		}
		if b.emptyAt.CompareAndSwap(was, int64(now+content+time.Duration(n)*r.each)) {
			return 0
		}
	}
}

// Wait returns what Take would, and takes nothing.
func (b *Bucket) Wait(now time.Duration, r Rate) time.Duration {
	if !r.Bounded() {
		return 0
	}
	return max(r.over(b.content(now)), 0)
}

// Add adds n units, also to a full bucket.
func (b *Bucket) Add(now time.Duration, n int, r Rate) {
	for r.Bounded() {
		was := b.emptyAt.Load()
		if b.emptyAt.CompareAndSwap(was, int64(max(time.Duration(was), now)+time.Duration(n)*r.each)) {
			return
		}
	}
}

// Content returns how many units are in the bucket.
func (b *Bucket) Content(now time.Duration, r Rate) int {
	if !r.Bounded() {
		return 0
	}
	return int(b.content(now) / r.each)
}

func (b *Bucket) content(now time.Duration) time.Duration {
	return max(time.Duration(b.emptyAt.Load())-now, 0)
}
