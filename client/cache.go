package client

import (
	"encoding/json"
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
	slots  map[string]*gateSlot
	looks  map[look]*shared
	listen listeners
}

// view is what readers see; a sync replaces all of it.
type view struct {
	decisions *table[record]
	gates     *gateSet
}

func newCache() *cache {
	c := &cache{hasher: newHasher(), slots: map[string]*gateSlot{}, looks: map[look]*shared{}}
	c.tallies.hasher = c.hasher
	return c
}

// draft is a view in the making, between the start of a watch and the end of
// its initial values.
type draft struct {
	decisions *table[record]
	gates     *gateSet
}

func newDraft(sizeHint int) *draft { return &draft{decisions: newTable[record](sizeHint)} }

// entry is a value of the bucket; a nil value means that the key was deleted.
type entry struct {
	key   string
	value []byte
}

// isFence says whether a key is none that apps read. A customer's key may begin
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
	to.decisions.put(c.hasher.hash(*r.customer, r.feature), r)
	return nil
}

// publish replaces the whole view by a draft.
func (c *cache) publish(from *draft, now time.Time) {
	v := &view{decisions: from.decisions, gates: from.gates}
	c.setGates(v.gates)
	unlock := c.tallies.lockAll()
	c.tallies.update(func(h uint64, n *node[counter]) {
		g := v.gates.byFeature[n.feature]
		if d := v.decisions.find(h, *n.customer, n.feature).pointer(*n.customer); d != nil && g != nil {
			n.v.set(n.v.Load().observed(g, d, now))
		}
	})
	c.view.Store(v)
	unlock()
	if c.listen.any() {
		v.decisions.each(func(_ uint64, r *node[record]) { c.listen.tell(r.v.pointer(*r.customer)) })
	}
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
		c.view.Store(&view{decisions: v.decisions, gates: g})
		return nil
	case e.value == nil:
		return c.remove(v, e.key)
	}
	r, err := c.decode(e)
	if err != nil {
		return err
	}
	h := c.hasher.hash(*r.customer, r.feature)
	if old := v.decisions.find(h, *r.customer, r.feature); old.known() && old.position > r.v.position {
		return nil // never back in time
	}
	c.store(v, h, r, now)
	if c.listen.any() {
		c.listen.tell(r.v.pointer(*r.customer))
	}
	return nil
}

// store publishes a decision. The customer's count learns of it first: a count
// of the old window beside a decision of the new one could block wrongly.
func (c *cache) store(v *view, h uint64, r *node[record], now time.Time) {
	shard := c.tallies.shard(h)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if t := c.tallies.find(h, *r.customer, r.feature); t != nil {
		if g := v.gates.byFeature[r.feature]; g != nil {
			t.set(t.Load().observed(g, r.v.pointer(*r.customer), now))
		}
	}
	v.decisions.put(h, r)
}

func (c *cache) remove(v *view, key string) error {
	customer, feature, err := parseKey(key)
	if err != nil {
		return err
	}
	h := c.hasher.hash(customer, feature)
	if v.decisions.find(h, customer, feature) != nil {
		v.decisions.put(h, newNode(customer, feature, record{}))
	}
	return nil
}

func (c *cache) decode(e entry) (*node[record], error) {
	var d events.Decision
	if err := json.Unmarshal(e.value, &d); err != nil {
		return nil, fmt.Errorf("decision %s: %w", e.key, err)
	}
	if events.DecisionKey(d.Customer, d.Feature) != e.key {
		return nil, fmt.Errorf("decision %s speaks of another key", e.key)
	}
	same := c.share(lookOf(&d))
	return newNode(d.Customer, same.feature, newRecord(&d, same)), nil
}

// maxLooks bounds what is looked up to be shared.
const maxLooks = 4096

func (c *cache) share(l look) *shared {
	if one := c.looks[l]; one != nil {
		return one
	}
	one := &shared{look: l, gate: c.slot(l.feature), plain: l.allowed && !l.wouldBlock && (!l.limit.Valid || l.limit.Sign() > 0)}
	if len(c.looks) >= maxLooks {
		clear(c.looks) // old ones stay where they are used
	}
	c.looks[l] = one
	return one
}

func (c *cache) slot(feature string) *gateSlot {
	s := c.slots[feature]
	if s == nil {
		s = &gateSlot{}
		c.slots[feature] = s
		if v := c.view.Load(); v != nil {
			s.Store(v.gates.byFeature[feature])
		}
	}
	return s
}

func (c *cache) setGates(g *gateSet) {
	for feature := range g.byFeature {
		c.slot(feature)
	}
	for feature, s := range c.slots {
		s.Store(g.byFeature[feature])
	}
}

func decodeGates(b []byte) (*gateSet, error) {
	var g events.Gates
	if err := json.Unmarshal(b, &g); err != nil {
		return nil, fmt.Errorf("gates: %w", err)
	}
	if g.Partitions < 1 {
		return nil, fmt.Errorf("gates: %d partitions", g.Partitions)
	}
	return newGateSet(&g), nil
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
