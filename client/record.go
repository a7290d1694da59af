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

// Record counts one use. It returns when the event is in the buffer. The client
// delivers it in the background and retries with the same id until it is
// acknowledged, so it is lost only with the process. An error means that the event
// was not accepted: it wraps events.ErrInvalid, ErrClosed, or ErrBufferFull when
// the buffer was full until ctx ended.
func (c *Client) Record(ctx context.Context, u Usage) error { return c.record(ctx, &u, nil) }

// RecordAck is Record, but returns after the event has been stored and
// acknowledged. When ctx ends first, it returns the context's error; the event is
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
	case <-c.workers.ctx.Done():
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
	if err := c.budget.take(ctx, size); err != nil {
		return err
	}
	if c.closing.Load() { // Close may not have seen this event
		c.budget.give(1, size)
		return ErrClosed
	}
	repeated := u.ID != "" && c.repeats.seen(&e)
	if e.Time.IsZero() && c.current.Load() == 0 {
		e.Time = c.now().UTC()
	}
	h := accepted{e: e, literal: literal, size: size, done: done, repeated: repeated}
	if queues := c.queues.Load(); queues != nil {
		c.enqueue(*queues, &h)
	} else if !c.pending.add(h) {
		c.enqueue(*c.queues.Load(), &h)
	}
	return nil
}

// accepted is an event that Record has taken, on its way into a batch.
type accepted struct {
	e        events.Event
	literal  string
	size     int // bytes of the budget
	done     chan struct{}
	repeated bool // this process has recorded the same use before
}

// enqueue counts an event down and puts it into its partition's queue, in this
// order: else a decision that includes the event could arrive before the count,
// which would then count it twice.
func (c *Client) enqueue(queues []partitionQueue, h *accepted) {
	gates := c.cache.view.Load().gates.byEvent[h.e.Type]
	h.e.Data = filled(h.e.Data, h.literal, gates)
	for _, g := range gates {
		if g.counted && !h.repeated {
			c.countDown(g, &h.e)
		}
	}
	l := &queues[events.PartitionOf(h.e.Subject, len(queues))]
	if l.add(h, c.coarse.Load(), c.maxBody) {
		c.workers.run(func(ctx context.Context) { c.send(ctx, l) })
	}
}

// timeSlack is how far the time of an event may be from now for this process to
// take it as part of the window that contains now.
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

// pending holds events until the number of partitions is known.
type pending struct {
	mu     sync.Mutex
	closed bool
	events []accepted
}

// add returns false when the partitions are known.
func (l *pending) add(h accepted) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.events = append(l.events, h)
	return true
}

// setPartitions makes the queues, once, and moves the pending events into them.
func (c *Client) setPartitions(n int) {
	if old := c.queues.Load(); old != nil {
		if len(*old) != n {
			c.report("the number of partitions cannot change", fmt.Errorf("%d, but it was %d: restart the app", n, len(*old)))
		}
		return
	}
	queues := make([]partitionQueue, n)
	for p := range queues {
		queues[p].subject = c.names.Usage(p, events.BatchToken)
	}
	c.pending.mu.Lock()
	defer c.pending.mu.Unlock()
	for i := range c.pending.events {
		c.enqueue(queues, &c.pending.events[i])
	}
	c.pending.events, c.pending.closed = nil, true
	c.queues.Store(&queues)
}

// repeats remembers by a hash which uses this process has recorded, so that it
// counts down once a use that the app records twice. It forgets old ones.
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
