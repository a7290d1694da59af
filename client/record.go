package client

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Record counts one use. It returns when the event is in the buffer: from there
// it is delivered in the background, retried for ever with the same id, and
// lost only with the process. An error means that the event was not accepted:
// it wraps events.ErrInvalid, ErrClosed, or ErrBufferFull when the buffer was
// full until ctx ended.
func (c *Client) Record(ctx context.Context, u Usage) error { return c.record(ctx, &u, nil) }

// RecordAck is Record that returns after the event has been stored and
// acknowledged. When ctx ends first, the error is the context's; the event is
// still on its way, and recording it again with the same ID counts it once.
func (c *Client) RecordAck(ctx context.Context, u Usage) error {
	if c.disabled {
		return nil
	}
	done := make(chan struct{})
	if err := c.record(ctx, &u, done); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("not yet acknowledged: %w", ctx.Err())
	case <-c.crew.ctx.Done():
		return ErrClosed
	}
}

func (c *Client) record(ctx context.Context, u *Usage, done chan struct{}) error {
	if c.disabled {
		return nil
	}
	if c.closing.Load() {
		return ErrClosed
	}
	e, literal, err := c.event(u)
	if err != nil {
		return err
	}
	size := eventSize(&e) + maxValues*len(literal)
	if err := c.room.take(ctx, size); err != nil {
		return err
	}
	if c.closing.Load() { // Close may not have seen this event
		c.room.give(1, size)
		return ErrClosed
	}
	repeated := u.ID != "" && c.repeats.seen(&e)
	if e.Time.IsZero() && c.current.Load() == 0 {
		e.Time = c.now().UTC()
	}
	h := held{e: e, literal: literal, size: size, done: done, repeated: repeated}
	if lanes := c.lanes.Load(); lanes != nil {
		c.enqueue(*lanes, &h)
	} else if !c.lobby.add(h) {
		c.enqueue(*c.lanes.Load(), &h)
	}
	return nil
}

// held is an accepted event on its way into a message.
type held struct {
	e        events.Event
	literal  string
	size     int // room that it takes
	done     chan struct{}
	repeated bool // this process has recorded the same use before
}

// enqueue counts an event down and packs it. In this order: a count that came
// after a decision which knows of the event would count it twice.
func (c *Client) enqueue(lanes []lane, h *held) {
	gates := c.cache.view.Load().gates.byEvent[h.e.Type]
	h.e.Data = filled(h.e.Data, h.literal, gates)
	for _, g := range gates {
		if g.counted && !h.repeated {
			c.countDown(g, &h.e)
		}
	}
	l := &lanes[events.PartitionOf(h.e.Subject, len(lanes))]
	if l.add(h, c.coarse.Load(), c.maxBody) {
		c.crew.run(func(ctx context.Context) { c.send(ctx, l) })
	}
}

// timeSlack is how far an event's time may be from now to belong to the window
// that contains now, as far as this process can tell.
const timeSlack = time.Minute

func (c *Client) countDown(g *gateInfo, e *events.Event) {
	now := c.now()
	if !e.Time.IsZero() {
		if off := now.Sub(e.Time).Abs(); off > timeSlack {
			return
		}
	}
	if w, ok := g.amount(e); ok {
		c.cache.count(g, e.Subject, w, now)
	}
}

// lobby holds events until the number of partitions is known.
type lobby struct {
	mu     sync.Mutex
	closed bool
	events []held
}

// add returns false when the partitions are known.
func (l *lobby) add(h held) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.events = append(l.events, h)
	return true
}

// setPartitions makes the lanes, once, and moves what waits in the lobby there.
func (c *Client) setPartitions(n int) {
	if old := c.lanes.Load(); old != nil {
		if len(*old) != n {
			c.report("the number of partitions cannot change", fmt.Errorf("%d, but it was %d: restart the app", n, len(*old)))
		}
		return
	}
	lanes := make([]lane, n)
	for p := range lanes {
		lanes[p].subject = c.names.Usage(p, events.BatchToken)
	}
	c.lobby.mu.Lock()
	defer c.lobby.mu.Unlock()
	for i := range c.lobby.events {
		c.enqueue(lanes, &c.lobby.events[i])
	}
	c.lobby.events, c.lobby.closed = nil, true
	c.lanes.Store(&lanes)
}

// repeats remembers which uses this process has recorded, by a hash, so that a
// use that the app records twice is counted down once. It forgets.
type repeats struct {
	once  sync.Once
	seed  maphash.Seed
	slots []atomic.Uint64
}

const repeatsKept = 1 << 15

func (r *repeats) seen(e *events.Event) bool {
	r.once.Do(func() {
		r.seed = maphash.MakeSeed()
		r.slots = make([]atomic.Uint64, repeatsKept)
	})
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, s := range [...]string{e.Subject, e.Source, e.ID} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	sum := h.Sum64()
	return r.slots[sum%repeatsKept].Swap(sum) == sum
}
