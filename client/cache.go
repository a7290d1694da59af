package client

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// cache holds the newest decisions and gates. One goroutine at a time writes.
type cache struct {
	hasher  hasher
	view    atomic.Pointer[view] // nil before the first sync
	tallies tallies

	// The rest is the writer's.
	table  *table // what view shows
	gates  map[string]*gateSlot
	looks  map[look]*shared
	listen listeners
}

// view is what readers see; a sync replaces all of it.
type view struct {
	index
	gates *gateSet
}

func newCache() *cache {
	return &cache{hasher: newHasher(), gates: map[string]*gateSlot{}, looks: map[look]*shared{}}
}

// draft is a view in the making, between the start of a watch and the end of
// its initial values.
type draft struct {
	decisions *table
	gates     *gateSet
}

func newDraft(sizeHint int) *draft { return &draft{decisions: newTable(sizeHint)} }

// entry is a value of the bucket; a nil value means that the key was deleted.
type entry struct {
	key   string
	value []byte
}

// isFence reports whether a key is none that apps read. A customer's key may begin
// with "=" as well, but no token with "=own".
func isFence(key string) bool { return strings.HasPrefix(key, "=own.") }

// load takes an initial value into a draft.
func (c *cache) load(to *draft, e entry) error {
	switch {
	case isFence(e.key):
		return nil
	case e.value == nil:
		return nil
	case e.key == events.GatesKey:
		g, err := decodeGates(e.value)
		if err == nil {
			to.gates = g
		}
		return err
	}
	r, err := c.decode(e)
	if err != nil {
		return err
	}
	to.decisions.put(c.hashOf(r), r)
	return nil
}

// guarded calls f and turns a panic into an error: a value that nobody expected in the
// bucket must not end an app. f must not call the app's own functions.
func guarded(f func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return f()
}

// publish replaces the whole view by a draft.
func (c *cache) publish(from *draft, now time.Time) {
	v := &view{index: from.decisions.index, gates: from.gates}
	c.setGates(v.gates)
	unlock := c.tallies.lockAll()
	c.tallies.update(func(t *counter) {
		g := v.gates.byFeature[*t.feature]
		if d := v.get(t.hash, t.customer(), *t.feature).pointer(); d != nil && g != nil {
			_ = guarded(func() error { t.set(t.tally().observed(g, d, now)); return nil }) // it keeps its count
		}
	})
	c.table = from.decisions
	c.view.Store(v)
	unlock()
	if c.listen.any() {
		c.table.each(func(r record) {
			if d := r.pointer(); d != nil {
				c.listen.emit(d)
			}
		})
	}
}

// carry adds to a draft the decisions of the present view that it lacks, or has older: of
// a bucket that was set back, purged or made anew they come again by and by.
func (c *cache) carry(to *draft) {
	if c.table == nil {
		return
	}
	c.table.each(func(r record) {
		h := c.hashOf(r)
		if has := to.decisions.get(h, r.more.customer, r.look.feature); !r.look.gone && (!has.known() || has.position < r.position) {
			to.decisions.put(h, r)
		}
	})
}

// apply takes a change into the view that readers use.
func (c *cache) apply(e entry, now time.Time) error {
	v := c.view.Load()
	switch {
	case isFence(e.key):
		return nil
	case e.key == events.GatesKey && e.value == nil:
		return nil // nobody deletes the gates; keep them
	case e.key == events.GatesKey:
		g, err := decodeGates(e.value)
		if err != nil {
			return err
		}
		c.setGates(g)
		c.view.Store(&view{index: v.index, gates: g})
		return nil
	case e.value == nil:
		return c.remove(v, e.key)
	}
	r, err := c.decode(e)
	if err != nil {
		return err
	}
	h := c.hashOf(r)
	if old := v.get(h, r.more.customer, r.look.feature); old.known() && old.position > r.position {
		return nil // never back in time
	}
	if err := guarded(func() error { c.store(v, h, r, now); return nil }); err != nil {
		return fmt.Errorf("decision %s: %w", e.key, err)
	}
	if c.listen.any() {
		c.listen.emit(r.pointer())
	}
	return nil
}

// store publishes a decision. The customer's count learns of it first: a count
// of the old window beside a decision of the new one could block wrongly.
func (c *cache) store(v *view, h uint64, r record, now time.Time) {
	shard := c.tallies.shard(h)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if t := c.tallies.find(h, r.more.customer, r.look.feature); t != nil {
		if g := v.gates.byFeature[r.look.feature]; g != nil {
			t.set(t.tally().observed(g, r.pointer(), now))
		}
	}
	c.put(v, h, r)
}

func (c *cache) put(v *view, h uint64, r record) {
	c.table.put(h, r)
	if len(c.table.groups) != len(v.groups) {
		c.view.Store(&view{index: c.table.index, gates: v.gates})
	}
}

func (c *cache) remove(v *view, key string) error {
	customer, feature, err := parseKey(key)
	if err != nil {
		return err
	}
	h := c.hasher.hash(customer, feature)
	if old := v.get(h, customer, feature); old.known() {
		c.put(v, h, record{look: c.share(look{feature: feature, gone: true}), more: &more{customer: customer}})
	}
	return nil
}

func (c *cache) hashOf(r record) uint64 { return c.hasher.hash(r.more.customer, r.look.feature) }

func (c *cache) decode(e entry) (r record, err error) {
	err = guarded(func() error {
		r, err = c.decodeRaw(e)
		return err
	})
	return r, err
}

func (c *cache) decodeRaw(e entry) (record, error) {
	d, err := events.ParseDecision(e.value)
	if err != nil {
		return record{}, fmt.Errorf("decision %s: %w", e.key, err)
	}
	if events.DecisionKey(d.Customer, d.Feature) != e.key {
		return record{}, fmt.Errorf("decision %s speaks of another key", e.key)
	}
	return newRecord(&d, c.share(lookOf(&d))), nil
}

// maxLooks bounds what is looked up to be shared.
const maxLooks = 4096

func (c *cache) share(l look) *shared {
	if one := c.looks[l]; one != nil {
		return one
	}
	one := newShared(l, c.gate(l.feature))
	if len(c.looks) >= maxLooks {
		clear(c.looks) // old ones stay where they are used
	}
	c.looks[l] = one
	return one
}

func (c *cache) gate(feature string) *gateSlot {
	s := c.gates[feature]
	if s == nil {
		s = &gateSlot{}
		c.gates[feature] = s
		if v := c.view.Load(); v != nil {
			s.Store(v.gates.byFeature[feature])
		}
	}
	return s
}

func (c *cache) setGates(g *gateSet) {
	for feature := range g.byFeature {
		c.gate(feature)
	}
	for feature, s := range c.gates {
		s.Store(g.byFeature[feature])
	}
}

func decodeGates(b []byte) (set *gateSet, err error) {
	err = guarded(func() error {
		g, err := events.ParseGates(b)
		if err != nil {
			return err
		}
		if g.Partitions < 1 {
			return fmt.Errorf("%d partitions", g.Partitions)
		}
		set = newGateSet(&g)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("gates: %w", err)
	}
	return set, nil
}

func parseKey(key string) (customer, feature string, err error) {
	a, b, ok := strings.Cut(key, ".")
	if !ok {
		return "", "", fmt.Errorf("key %s is no decision's", key)
	}
	if customer, err = events.ParseToken(a); err == nil {
		feature, err = events.ParseToken(b)
	}
	return customer, feature, err
}
