package limit

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBucket(t *testing.T) {
	t.Parallel()
	var b Bucket
	r := Per(10, time.Second, 2*time.Second)
	for i := range 20 {
		if w := b.Take(0, 1, r); w != 0 {
			t.Fatalf("unit %d waits %s", i, w)
		}
	}
	if w := b.Take(0, 1, r); w != 100*time.Millisecond {
		t.Errorf("the next waits %s", w)
	}
	if w := b.Take(99*time.Millisecond, 1, r); w != time.Millisecond {
		t.Errorf("and then %s", w)
	}
	if w := b.Take(100*time.Millisecond, 1, r); w != 0 {
		t.Errorf("after a tenth of a second: %s", w)
	}
	if n := b.Content(100*time.Millisecond, r); n != 20 {
		t.Errorf("content %d", n)
	}
	var large Bucket
	if w := large.Take(0, 100, r); w != 0 {
		t.Errorf("more than it holds: %s", w)
	}
	if w := large.Wait(0, r); w != 8*time.Second+100*time.Millisecond {
		t.Errorf("then one waits for %s", w)
	}
	if w := large.Take(0, 1000, Rate{}); w != 0 || large.Content(0, Rate{}) != 0 {
		t.Errorf("without a bound: %s", w)
	}
	if Per(0, time.Second, time.Second).Bounded() || Per(-1, time.Second, time.Second).Bounded() {
		t.Error("none is a bound")
	}
}

// TestBucketHoldsItsRate: whatever is taken when, no span of time has more than the
// rate and the burst give, and who waits as told can take.
func TestBucketHoldsItsRate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "n")
		burst := time.Duration(rapid.IntRange(1, 5000).Draw(t, "burst")) * time.Millisecond
		r := Per(n, time.Second, burst)
		var b Bucket
		now, taken := time.Duration(0), 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, int(100*time.Millisecond)).Draw(t, "pause"))
			wait := b.Take(now, 1, r)
			if wait == 0 {
				taken++
			} else if rapid.Bool().Draw(t, "patient") {
				now += wait
				if again := b.Take(now, 1, r); again != 0 {
					t.Fatalf("after the wait of %s another of %s", wait, again)
				}
				taken++
			}
		}
		if most := int((now + r.burst) / r.each); taken > most {
			t.Fatalf("%d in %s, at most %d", taken, now, most)
		}
	})
}

func TestBucketIsExactAmongMany(t *testing.T) {
	t.Parallel()
	var b Bucket
	var a = NewAddresses()
	var taken, ofAddress atomic.Int64
	var wg sync.WaitGroup
	r := Per(1000, time.Second, time.Second)
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if b.Take(0, 1, r) == 0 {
					taken.Add(1)
				}
				if a.Take(0, netip.MustParseAddr("192.0.2.1"), r) == 0 {
					ofAddress.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() != 1000 || ofAddress.Load() != 1000 {
		t.Errorf("taken %d, of the address %d", taken.Load(), ofAddress.Load())
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	a, r := NewAddresses(), Per(1, time.Second, time.Second)
	take := func(ip string) time.Duration { return a.Take(0, netip.MustParseAddr(ip), r) }
	for _, same := range [][]string{
		{"192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"}, {"2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:1:ffff::"}, {"fe80::1%eth0", "fe80::1%eth1"},
	} {
		if w := take(same[0]); w != 0 {
			t.Errorf("%s waits", same[0])
		}
		for _, ip := range same[1:] {
			if w := take(ip); w == 0 {
				t.Errorf("%s is another than %s", ip, same[0])
			}
		}
	}
	for _, ip := range []string{"192.0.2.2", "2001:db8:1:2::1"} {
		if w := take(ip); w != 0 {
			t.Errorf("%s is refused with others", ip)
		}
	}
	if a.Take(0, netip.Addr{}, r) != 0 || a.Take(0, netip.Addr{}, r) == 0 {
		t.Error("those without an address are one")
	}
}

// TestAddressesAmongAttackers: with a thousand addresses that take all they can,
// hardly any other is refused.
func TestAddressesAmongAttackers(t *testing.T) {
	t.Parallel()
	a, r := NewAddresses(), Per(10, time.Second, time.Second)
	random := rand.New(rand.NewPCG(1, 2))
	ip := func() netip.Addr {
		return netip.AddrFrom4([4]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
	}
	for range 1000 {
		attacker := ip()
		for a.Take(0, attacker, r) == 0 {
		}
	}
	refused := 0
	for range 10_000 {
		if a.Take(0, ip(), r) != 0 {
			refused++
		}
	}
	if refused > 20 {
		t.Errorf("%d of 10,000 are refused", refused)
	}
}

func BenchmarkTake(b *testing.B) {
	start := time.Now()
	b.Run("bucket", func(b *testing.B) {
		var x Bucket
		r := Per(1_000_000_000, time.Second, time.Second)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				x.Take(time.Since(start), 1, r)
			}
		})
	})
	b.Run("address", func(b *testing.B) {
		a, r, ip := NewAddresses(), Per(1_000_000_000, time.Second, time.Second), netip.MustParseAddr("192.0.2.1")
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a.Take(time.Since(start), ip, r)
			}
		})
	})
}
