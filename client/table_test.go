package client

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestTableIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table, model := newTable[int](0), map[[2]string]int{}
		h := newHasher()
		weak := rapid.Bool().Draw(t, "weak") // all hashes collide
		hash := func(k [2]string) uint64 {
			if weak {
				return 7
			}
			return h.hash(k[0], k[1])
		}
		key := rapid.Custom(func(t *rapid.T) [2]string {
			customer := strconv.Itoa(rapid.IntRange(0, 300).Draw(t, "customer"))
			return [2]string{strings.Repeat("x", rapid.SampledFrom([]int{0, 38, 39, 40}).Draw(t, "long")) + customer, rapid.SampledFrom([]string{"", "a", "api"}).Draw(t, "feature")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.Int().Draw(t, "value")
				table.put(hash(k), newNode(k[0], k[1], v))
				model[k] = v
			},
			"find": func(t *rapid.T) {
				k := key.Draw(t, "key")
				got := table.find(hash(k), k[0], k[1])
				want, ok := model[k]
				if (got != nil) != ok || ok && *got != want {
					t.Fatalf("found %v, want %v %t", got, want, ok)
				}
			},
		})
		n := 0
		table.each(func(_ uint64, one *node[int]) {
			n++
			if want := model[[2]string{*one.customer, one.feature}]; one.v != want {
				t.Fatalf("%s: %d, want %d", *one.customer, one.v, want)
			}
		})
		if n != len(model) {
			t.Fatalf("%d keys, want %d", n, len(model))
		}
	})
}

// Readers find each key's newest value or the one before, while the table grows.
func TestTableUnderReaders(t *testing.T) {
	t.Parallel()
	table, h := newTable[int](0), newHasher()
	const n = 20_000
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
		if i%2 == 0 {
			table.put(h.hash(names[i], "api"), newNode(names[i], "api", i))
		}
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range names {
				got := table.find(h.hash(names[i], "api"), names[i], "api")
				if got == nil && i%2 == 0 || got != nil && *got != i && *got != -i {
					t.Errorf("%d: found %v", i, got)
				}
			}
		})
	}
	for i := range names {
		table.put(h.hash(names[i], "api"), newNode(names[i], "api", -i))
	}
	wg.Wait()
}
