package client

import (
	"strings"
	"sync"
	"testing"

	"github.com/tidegate-io/tidegate/events"
)

// Readers get a tally as it was set, whole, while writers go on.
func TestCountsAreReadWhole(t *testing.T) {
	t.Parallel()
	feature := "api"
	table := newCounters(0)
	table.add(1, "bob", &feature, tally{})
	one := table.find(1, "bob", feature)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for b := one.bound(); b.end < 10_000; b = one.bound() {
				all := events.Value{Units: b.end, Nanos: int32(b.end)}
				if b.used.Units -= b.used.Units % 2; b.used != all || b.others != all || b.hour != b.end {
					t.Errorf("read %+v", b)
					return
				}
			}
		})
	}
	for n := int64(2); n <= 10_000; n += 2 {
		all := events.Value{Units: n, Nanos: int32(n)}
		next := tally{bound: bound{used: all, others: all, end: n, hour: n}, book: book{last: n}}
		one.set(next)
		next.used.Units++
		one.set(next)
		if got := one.tally(); got != next {
			t.Fatalf("set %+v, got %+v", next, got)
		}
	}
	wg.Wait()
}

// Keys are told apart when their hashes are not, and found as the table grows.
func TestCountersFindTheirKeys(t *testing.T) {
	t.Parallel()
	table := newCounters(0)
	features := []string{"api", "tokens"}
	customers := []string{"", "bob", strings.Repeat("x", 47), strings.Repeat("x", 48), strings.Repeat("x", 49)}
	for n := range int64(20) {
		h := uint64(n) << 62 // four hashes, of one slot and one tag
		for c, customer := range customers {
			f := int(n/4) % 2
			key := strings.Repeat("y", int(n)) + customer
			if table.find(h, key, features[f]) != nil {
				t.Fatalf("%s is there", key)
			}
			table.add(h, key, &features[f], tally{book: book{last: n*10 + int64(c)}})
		}
	}
	for n := range int64(20) {
		for c, customer := range customers {
			key := strings.Repeat("y", int(n)) + customer
			one := table.find(uint64(n)<<62, key, features[n/4%2])
			if one == nil || one.last != n*10+int64(c) || one.customer() != key {
				t.Errorf("%s: found %+v", key, one)
			}
			if table.find(uint64(n)<<62, key, "another") != nil {
				t.Errorf("%s: found for another feature", key)
			}
		}
	}
}
