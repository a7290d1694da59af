package client

import (
	"encoding/json"
	"fmt"
	"math"
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
	texts  map[string]string // one copy of what many decisions repeat
	listen listeners
}

// view is what readers see; a sync replaces all of it.
type view struct {
	decisions *table[record]
	gates     *gateSet
}

// record is one decision; it does not change. A deleted one has no decision.
type record struct {
	d       events.Decision
	gate    *gateSlot
	end     int64 // of its window, in Unix nanoseconds
	plain   bool  // allowed, whatever the clock says
	deleted bool
}

func (r *record) is(customer, feature string) bool {
	return r.d.Customer == customer && r.d.Feature == feature
}

// decision is nil when r was deleted or is nil.
func (r *record) decision() *events.Decision {
	if r == nil || r.deleted {
		return nil
	}
	return &r.d
}

func newCache() *cache {
	c := &cache{hasher: newHasher(), slots: map[string]*gateSlot{}, texts: map[string]string{}}
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

// load takes an initial value into a draft.
func (c *cache) load(to *draft, e entry) error {
	switch {
	case strings.HasPrefix(e.key, "="):
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
	put(to.decisions, c.hasher.hash(r.d.Customer, r.d.Feature), r.d.Customer, r.d.Feature, r)
	return nil
}

// publish replaces the whole view by a draft.
func (c *cache) publish(from *draft, now time.Time) {
	v := &view{decisions: from.decisions, gates: from.gates}
	c.setGates(v.gates)
	unlock := c.tallies.lockAll()
	c.tallies.update(func(h uint64, t *counter) {
		g := v.gates.byFeature[t.feature]
		if d := find(v.decisions, h, t.customer, t.feature).decision(); d != nil && g != nil {
			t.set(t.state.Load().observed(g, d, now))
		}
	})
	c.view.Store(v)
	unlock()
	if c.listen.any() {
		v.decisions.each(func(_ uint64, r *record) { c.listen.tell(&r.d) })
	}
}

// apply takes a change into the view that readers use.
func (c *cache) apply(e entry, now time.Time) error {
	v := c.view.Load()
	switch {
	case strings.HasPrefix(e.key, "="):
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
	h := c.hasher.hash(r.d.Customer, r.d.Feature)
	if old := find(v.decisions, h, r.d.Customer, r.d.Feature).decision(); old != nil && old.Position > r.d.Position {
		return nil // never back in time
	}
	c.store(v, h, r, now)
	c.listen.tell(&r.d)
	return nil
}

// store publishes a decision. The customer's count learns of it first: a count
// of the old window beside a decision of the new one could block wrongly.
func (c *cache) store(v *view, h uint64, r *record, now time.Time) {
	shard := c.tallies.shard(h)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if t := c.tallies.find(h, r.d.Customer, r.d.Feature); t != nil {
		if g := v.gates.byFeature[r.d.Feature]; g != nil {
			t.set(t.state.Load().observed(g, &r.d, now))
		}
	}
	put(v.decisions, h, r.d.Customer, r.d.Feature, r)
}

func (c *cache) remove(v *view, key string) error {
	customer, feature, err := parseKey(key)
	if err != nil {
		return err
	}
	h := c.hasher.hash(customer, feature)
	if find(v.decisions, h, customer, feature) != nil {
		put(v.decisions, h, customer, feature, &record{
			d: events.Decision{Customer: customer, Feature: feature}, gate: c.slot(feature), deleted: true,
		})
	}
	return nil
}

func (c *cache) decode(e entry) (*record, error) {
	r := &record{end: math.MaxInt64}
	if err := json.Unmarshal(e.value, &r.d); err != nil {
		return nil, fmt.Errorf("decision %s: %w", e.key, err)
	}
	d := &r.d
	if events.DecisionKey(d.Customer, d.Feature) != e.key {
		return nil, fmt.Errorf("decision %s speaks of another key", e.key)
	}
	d.Feature, d.Plan, d.Message = c.shared(d.Feature), c.shared(d.Plan), c.shared(d.Message)
	d.Reason = events.Reason(c.shared(string(d.Reason)))
	r.gate = c.slot(d.Feature)
	r.plain = d.Allowed && !d.WouldBlock && (!d.Limit.Valid || d.Limit.Sign() > 0)
	if d.WindowEnd != nil {
		r.end = d.WindowEnd.UnixNano()
	}
	return r, nil
}

// maxShared bounds the texts of which one copy is kept.
const maxShared = 4096

func (c *cache) shared(s string) string {
	if one, ok := c.texts[s]; ok {
		return one
	}
	if len(c.texts) < maxShared {
		c.texts[s] = s
	}
	return s
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
