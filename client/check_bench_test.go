package client

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// cachedDecisions is how many decisions BenchmarkCheck caches.
const cachedDecisions = 1_000_000

// paying is a decision about a paying customer as the servers write it.
func paying(customer string) events.Decision {
	now := time.Now().UTC()
	start, end := now.Add(-time.Hour).Truncate(time.Second), now.Add(30*24*time.Hour).Truncate(time.Second)
	return events.Decision{Customer: customer, Feature: "api", Allowed: true, Reason: events.Unlimited, Plan: "pro", Used: events.Some(events.Count(12345)),
		WindowStart: &start, WindowEnd: &end, UpgradeURL: "https://acme.example/pricing", DecidedAt: now, AsOf: now.Add(-time.Minute)}
}

// cachedBy returns a client with a million decisions, one in a hundred of them a
// block, and their customers in the order in which the decisions came.
func cachedBy(b *testing.B) (*Client, []string) {
	c, _ := inMemory(b, nil, apiGate(100))
	names := make([]string, cachedDecisions)
	d := newDraft(0)
	d.gates = c.cache.view.Load().gates
	for i := range names {
		names[i] = "customer-" + strconv.Itoa(i)
		one := paying(names[i])
		if i%100 == 0 {
			one = blocked(names[i], time.Now().Add(time.Hour))
		}
		if err := c.cache.load(d, change(b, one)); err != nil {
			b.Fatal(err)
		}
	}
	c.cache.publish(d, time.Now())
	return c, names
}

func change(b *testing.B, d events.Decision) entry {
	body, err := json.Marshal(d)
	if err != nil {
		b.Fatal(err)
	}
	return entry{events.DecisionKey(d.Customer, d.Feature), body}
}

// arrivals lets 10,000 decisions a second arrive until stop is called, which
// says how many have.
func arrivals(b *testing.B, c *Client, names []string) (stop func() int64) {
	changes := make([]entry, 20_000)
	for i := range changes {
		one := paying(names[rand.IntN(len(names))])
		one.Position = int64(i)
		changes[i] = change(b, one)
	}
	end, done := make(chan struct{}), make(chan struct{})
	n := 0
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for begin := time.Now(); ; {
			select {
			case <-end:
				return
			case now := <-tick.C:
				for ; n < int(now.Sub(begin)/(100*time.Microsecond)); n++ {
					if err := c.cache.apply(changes[n%len(changes)], now); err != nil {
						b.Error(err)
					}
				}
			}
		}
	}()
	return func() int64 { close(end); <-done; return int64(n) }
}

// asRequests returns n of the customers by chance, their ids one after the
// other in memory. An id that a request has just brought is in the processor's
// cache, as these are; fetching it from somewhere is no part of a check.
func asRequests(from []string, n int) []string {
	ids := make([]byte, 0, 16*n)
	ends := make([]int, n+1)
	for i := range n {
		ids = append(ids, from[rand.IntN(len(from))]...)
		ends[i+1] = len(ids)
	}
	all, list := string(ids), make([]string, n)
	for i := range list {
		list[i] = all[ends[i]:ends[i+1]]
	}
	return list
}

// everyone calls f for the customers in turn, on all processors.
func everyone(b *testing.B, customers []string, f func(customer string)) {
	var workers atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		i := int(workers.Add(1)) * (len(customers) / 3) % len(customers)
		for pb.Next() {
			if i++; i == len(customers) {
				i = 0
			}
			f(customers[i])
		}
	})
}

// BenchmarkCheck checks among a million decisions while 10,000 a second change:
// always the same 10,000 customers, or any of them. Beside it is what a plain map
// takes for the same, which nobody may write meanwhile. Scattered are ids that
// have to be fetched from memory as well.
func BenchmarkCheck(b *testing.B) {
	c, names := cachedBy(b)
	plain := make(map[string]uint64, len(names))
	for i, name := range names {
		plain[name] = uint64(i)
	}
	scattered := make([]string, len(names))
	for i, k := range rand.Perm(len(names)) {
		scattered[i] = names[k]
	}
	stop := arrivals(b, c, names)
	begin := time.Now()
	for _, bench := range []struct {
		name      string
		customers []string
	}{
		// So few that the list of requests leaves the decisions in the cache.
		{"hot", asRequests(names[:10_000], 20_000)}, {"uniform", asRequests(names, 1_000_000)}, {"scattered", scattered},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			everyone(b, bench.customers, func(customer string) { c.Check(customer, "api") })
			took := b.Elapsed()
			b.StopTimer()
			at := time.Now()
			everyone(b, bench.customers, func(customer string) { _ = plain[customer] })
			b.ReportMetric(float64(time.Since(at).Nanoseconds())/float64(b.N), "map-ns/op")
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/op")
		})
	}
	took := time.Since(begin)
	b.Logf("%d decisions a second arrived", int64(float64(stop())/took.Seconds()))
}

// BenchmarkCheckOne is what checks cost by kind, on one goroutine and with all in
// the processor's cache.
func BenchmarkCheckOne(b *testing.B) {
	small := apiGate(1 << 40)
	c, m := inMemory(b, nil, small)
	give(b, m, events.DecisionKey("paying", "api"), paying("paying"))
	give(b, m, events.DecisionKey("blocked", "api"), blocked("blocked", time.Now().Add(time.Hour)))
	if err := c.Record(b.Context(), Usage{Customer: "counted", Event: "api"}); err != nil {
		b.Fatal(err)
	}
	for _, customer := range []string{"paying", "new", "counted", "blocked"} {
		b.Run(customer, func(b *testing.B) {
			for range b.N {
				c.Check(customer, "api")
			}
		})
	}
}
