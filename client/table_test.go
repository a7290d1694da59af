package client

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
)

func numbered(customer, feature string, n int64) record {
	d := events.Decision{Customer: customer, Feature: feature, Position: n}
	return newRecord(&d, newShared(lookOf(&d), nil))
}

func TestTableIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table, model := newTable(0), map[[2]string]int64{}
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
			return [2]string{strings.Repeat("x", rapid.SampledFrom([]int{0, 6, 7, 8, 40}).Draw(t, "long")) + customer, rapid.SampledFrom([]string{"", "a", "api"}).Draw(t, "feature")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.Int64().Draw(t, "value")
				table.put(hash(k), numbered(k[0], k[1], v))
				model[k] = v
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				got := table.get(hash(k), k[0], k[1])
				want, ok := model[k]
				if got.known() != ok || ok && got.position != want {
					t.Fatalf("found %+v, want %v %t", got, want, ok)
				}
			},
		})
		n := 0
		table.each(func(r record) {
			n++
			if want := model[[2]string{r.more.customer, r.look.feature}]; r.position != want {
				t.Fatalf("%s: %d, want %d", r.more.customer, r.position, want)
			}
		})
		if n != len(model) {
			t.Fatalf("%d keys, want %d", n, len(model))
		}
	})
}

// Readers find each key's newest value or the one before, never half of each,
// while the table grows and is written.
func TestTableUnderReaders(t *testing.T) {
	t.Parallel()
	table, h := newTable(0), newHasher()
	const n = 20_000
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
		if i%2 == 0 {
			table.put(h.hash(names[i], "api"), numbered(names[i], "api", int64(i)))
		}
	}
	index := table.index // what readers have
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range names {
				got := index.get(h.hash(names[i], "api"), names[i], "api")
				if !got.known() && i%2 == 0 || got.known() && (got.position != int64(i) && got.position != -int64(i) || got.more.customer != names[i]) {
					t.Errorf("%d: found %+v", i, got)
				}
			}
		})
	}
	for i := range names {
		table.put(h.hash(names[i], "api"), numbered(names[i], "api", -int64(i)))
	}
	wg.Wait()
}

// TestDecisionsAreKeptWhole: what comes out of the cache is what came in,
// whatever of it is missing or out of the ordinary.
func TestDecisionsAreKeptWhole(t *testing.T) {
	t.Parallel()
	moments := rapid.Custom(func(t *rapid.T) *time.Time {
		at := time.Unix(rapid.SampledFrom([]int64{-1, 0, 1, 1_800_000_000, 1 << 33, 1<<34 + 5}).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		return rapid.SampledFrom([]*time.Time{nil, &at}).Draw(t, "time")
	})
	amount := rapid.Custom(func(t *rapid.T) events.NullValue {
		v := events.Value{Units: rapid.SampledFrom([]int64{0, 1, 100, 1 << 40, 1<<62 + 1}).Draw(t, "units"), Nanos: rapid.SampledFrom([]int32{0, 1, 500_000_000}).Draw(t, "nanos")}
		return rapid.SampledFrom([]events.NullValue{{}, events.Some(v)}).Draw(t, "value")
	})
	texts := rapid.SampledFrom([]string{"", "a", "Upgrade."})
	rapid.Check(t, func(t *rapid.T) {
		at := func(name string) (one time.Time) {
			if p := moments.Draw(t, name); p != nil {
				one = *p
			}
			return one
		}
		d := events.Decision{Customer: "acme", Feature: "api", Allowed: rapid.Bool().Draw(t, "allowed"), WouldBlock: rapid.Bool().Draw(t, "would"),
			Reason: rapid.SampledFrom([]events.Reason{events.WithinLimit, events.LimitReached, events.Overridden}).Draw(t, "reason"),
			Plan:   texts.Draw(t, "plan"), Message: texts.Draw(t, "message"), UpgradeURL: texts.Draw(t, "url"),
			Limit: amount.Draw(t, "limit"), Used: amount.Draw(t, "used"),
			WindowStart: moments.Draw(t, "start"), WindowEnd: moments.Draw(t, "end"), UnblocksAt: moments.Draw(t, "unblocks"),
			DecidedAt: at("decided"), AsOf: at("as of"), Position: rapid.Int64().Draw(t, "position")}
		if d.Limit.Valid && d.Used.Valid { // so the servers have it
			d.Remaining = events.Some(d.Limit.Sub(d.Used.Value).Max(events.Value{}))
		}
		body, err := json.Marshal(&d)
		if err != nil {
			t.Fatal(err)
		}
		var want events.Decision
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		r, err := newCache().decode(entry{events.DecisionKey("acme", "api"), body})
		if err != nil {
			t.Fatal(err)
		}
		if got := *r.pointer(); !reflect.DeepEqual(got, want) {
			t.Fatalf("kept\n%+v, want\n%+v", got, want)
		}
	})
}
