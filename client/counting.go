package client

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// tallies holds the counts of customers that this process has recorded use of.
// Readers take no lock; writers lock the key's shard.
type tallies struct{ shards [tallyShards]tallyShard }

const (
	tallyShards   = 16
	tallyMost     = 8192      // counts kept in a shard
	tallyIdleKeep = time.Hour // an idle count may go after this, when there are many
)

type tallyShard struct {
	mu    sync.Mutex
	table atomic.Pointer[counters] // nil while empty
	_     [40]byte                 // a cache line each
}

func (t *tallies) shard(h uint64) *tallyShard { return &t.shards[h>>60] }

func (t *tallies) find(h uint64, customer, feature string) *counter {
	if table := t.shard(h).table.Load(); table != nil {
		return table.find(h, customer, feature)
	}
	return nil
}

// count adds w to the customer's count of a gate, beside the newest decision.
func (c *cache) count(g *gateInfo, customer string, w events.Value, now time.Time) {
	h := c.hasher.hash(customer, g.Feature)
	s := c.tallies.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.tallies.find(h, customer, g.Feature)
	if t != nil {
		// The usual way. The count includes what the decision says already, and to
		// fetch it would be half of what a record costs.
		if state := t.tally(); !state.over(now) {
			t.set(state.recorded(w, now))
			return
		}
	}
	v := c.view.Load() // under the lock: see store
	d := v.get(h, customer, g.Feature).pointer()
	if limit := g.limit(d); !limit.Valid || limit.Sign() <= 0 {
		return
	}
	if t != nil {
		t.set(newTally(g, d, now).recorded(w, now))
		return
	}
	table := s.table.Load()
	if table == nil || table.used >= tallyMost {
		table = s.thinned(now)
		s.table.Store(table)
	}
	table.add(h, customer, &g.Feature, newTally(g, d, now).recorded(w, now))
}

// thinned returns the shard's table without the counts whose windows are over. If
// many remain, it also drops those that have been idle longest: at least a
// quarter, and up to a half of those that have been idle for an hour. It finds
// the time to cut at from a sample, as sorting all counts would cost more than the
// rest of recording when more customers come and go than are kept.
func (s *tallyShard) thinned(now time.Time) *counters {
	old := s.table.Load()
	if old == nil {
		return newCounters(0)
	}
	keep := make([]*counter, 0, old.used)
	old.each(func(one *counter) {
		if one.end.Load() > now.UnixNano() {
			keep = append(keep, one)
		}
	})
	most, cut := len(keep), int64(math.MinInt64)
	if len(keep) > tallyMost/2 {
		var sample []int64
		for i := 0; i < len(keep); i += 16 {
			sample = append(sample, keep[i].last)
		}
		slices.Sort(sample)
		most, cut = tallyMost*3/4, max(sample[len(sample)/4], min(sample[len(sample)/2], now.Add(-tallyIdleKeep).UnixNano()))
	}
	fresh := newCounters(min(len(keep), most))
	for _, one := range keep {
		if one.last >= cut && fresh.used < most {
			fresh.add(one.hash, one.customer(), one.feature, one.tally())
		}
	}
	return fresh
}

// lockAll stops all writers until the function that it returns is called.
func (t *tallies) lockAll() (unlock func()) {
	for i := range t.shards {
		t.shards[i].mu.Lock()
	}
	return func() {
		for i := range t.shards {
			t.shards[i].mu.Unlock()
		}
	}
}

// update calls f for every count; its caller holds the locks.
func (t *tallies) update(f func(one *counter)) {
	for i := range t.shards {
		if table := t.shards[i].table.Load(); table != nil {
			table.each(f)
		}
	}
}

// confirm compares every count with what the servers say. current is
// since when decisions come in without a break; delivered reports whether what a
// customer's records up to a moment have been acknowledged.
func (c *cache) confirm(now time.Time, current int64, wait time.Duration, delivered func(customer string, upTo int64) bool) {
	for i := range c.tallies.shards {
		s := &c.tallies.shards[i]
		s.mu.Lock()
		v := c.view.Load()
		if table := s.table.Load(); table != nil && v != nil {
			table.each(func(one *counter) {
				g := v.gates.byFeature[*one.feature]
				if g == nil {
					return
				}
				old := one.tally()
				customer := one.customer()
				d := v.get(one.hash, customer, *one.feature).pointer()
				next := old.confirmed(g.limit(d), now.UnixNano(), current, wait, func(upTo int64) bool { return delivered(customer, upTo) })
				if next != old {
					one.set(next)
				}
			})
		}
		s.mu.Unlock()
	}
}
