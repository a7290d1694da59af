package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
)

// partitionQueue holds the events of one partition that are not acknowledged, in
// order. One message is under way at a time, and events that are recorded
// meanwhile share the next one. So an idle app sends at once, and a busy one sends
// few large messages.
type partitionQueue struct {
	mu       sync.Mutex
	subject  string
	busy     bool     // a goroutine sends
	inFlight *batch   // under way
	full     []*batch // sealed, oldest first
	open     *batch   // takes further events; nil or not empty
	// oldest is about when the oldest event that is not acknowledged was
	// recorded, and not later; 0: there is none.
	oldest atomic.Int64
	_      [32]byte
}

// batch is a message in the making.
type batch struct {
	body   []byte
	most   int // bytes
	events int
	size   int   // bytes of the budget
	since  int64 // when its first event was recorded, or before
	done   []chan struct{}
}

// add puts an event into a batch and reports whether the caller must start a
// sender.
func (l *partitionQueue) add(h *accepted, now int64, most func() int) (start bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.begin(now, most())
	}
	p := l.open
	before := len(p.body)
	p.body = events.AppendBatch(p.body, &h.e)
	if len(p.body) > p.most && before > 0 || p.events == events.MaxBatchEvents {
		l.full = append(l.full, p)
		l.begin(now, p.most)
		l.open.body = append(l.open.body, p.body[before:]...)
		p.body = p.body[:before]
		p = l.open
	}
	p.events++
	p.size += h.size
	if h.done != nil {
		p.done = append(p.done, h.done)
	}
	start = !l.busy
	l.busy = true
	return start
}

func (l *partitionQueue) begin(now int64, most int) {
	l.open = &batch{since: now, most: most, body: (*bodies.Get().(*[]byte))[:0]}
	if l.oldest.Load() == 0 {
		l.oldest.Store(now)
	}
}

// bodies are reused: the connection has copied a body when its publish returns.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// next forgets the batch that was acknowledged and returns the next one to send.
// nil means that there is none, and that the sender has stopped.
func (l *partitionQueue) next() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = nil
	switch {
	case len(l.full) > 0:
		l.inFlight = l.full[0]
		l.full[0] = nil
		l.full = l.full[1:]
	case l.open != nil:
		l.inFlight, l.open = l.open, nil
	default:
		l.busy = false
		l.oldest.Store(0)
		return nil
	}
	l.oldest.Store(l.inFlight.since)
	return l.inFlight
}

// newest arranges for done to be closed when everything that is in the queue now
// is acknowledged. It reports whether there is anything.
func (l *partitionQueue) newest(done chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.inFlight
	if len(l.full) > 0 {
		p = l.full[len(l.full)-1]
	}
	if l.open != nil {
		p = l.open
	}
	if p == nil {
		return false
	}
	p.done = append(p.done, done)
	return true
}

// take returns the channels to close for p, which is acknowledged.
func (l *partitionQueue) take(p *batch) []chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := p.done
	p.done = nil
	l.inFlight = nil
	return done
}

// send publishes a queue's messages until there are none, or until ctx ends.
func (c *Client) send(ctx context.Context, l *partitionQueue) {
	for p := l.next(); p != nil; p = l.next() {
		if !c.deliver(ctx, l.subject, p) {
			return
		}
		for _, done := range l.take(p) {
			close(done)
		}
		c.budget.give(p.events, p.size)
		body := p.body
		bodies.Put(&body)
	}
}

// deliver publishes a batch until it is acknowledged. It reports false when ctx
// ended first.
func (c *Client) deliver(ctx context.Context, subject string, p *batch) bool {
	for wait := shortestWait; ; wait = min(2*wait, longestWait) {
		connected := c.connected.until(ctx)
		err := c.publish(connected, subject, events.ContentTypeBatch, p.body)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if connected.Err() != nil { // the answer went with the connection
			wait = shortestWait
			continue
		}
		if !errors.Is(err, errAway) { // the watch reports that once for all partitions
			c.report("usage cannot be delivered now", fmt.Errorf("%d events: %w", p.events, err))
		}
		timer := time.NewTimer(wait + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-connected.Done():
			wait = shortestWait
		}
		timer.Stop()
	}
}

// era is the time from one connect to the next. Its zero value is ready to use.
type era struct {
	mu  sync.Mutex
	ctx context.Context
	end context.CancelFunc
}

// until returns a context that ends with parent, or when the connection is made
// anew. All callers give the same parent.
func (e *era) until(parent context.Context) context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx == nil {
		e.ctx, e.end = context.WithCancel(parent)
	}
	return e.ctx
}

// next ends the era and begins a new one.
func (e *era) next() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx != nil {
		e.end()
		e.ctx = nil
	}
}

// publish stores one message and waits for its acknowledgement. It sets no
// message id: the servers tell duplicates apart by the events' own ids.
func (c *Client) publish(ctx context.Context, subject, contentType string, body []byte) error {
	if c.memory != nil {
		return c.memory.Publish(contentType, body)
	}
	if c.remote != nil {
		return c.publishHTTP(ctx, body)
	}
	if !c.nc.IsConnected() {
		return errAway // rather than fill the connection's own buffer
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := c.js.PublishMsg(ctx, &nats.Msg{
		Subject: subject, Header: nats.Header{events.ContentTypeHeader: {contentType}}, Data: body,
	})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
		return fmt.Errorf("%s: no acknowledgement; denied permissions also look like this: %w", subject, err)
	}
	return err
}

// maxBody returns how many bytes a message may have.
func (c *Client) maxBody() int {
	if c.nc != nil {
		if n := int(c.nc.MaxPayload()); n > 2*events.MaxEventBytes && n-1024 < events.MaxBatchBytes {
			return n - 1024 // for the headers
		}
	}
	return events.MaxBatchBytes
}

// delivered reports whether everything that was recorded of a customer up to a
// moment is acknowledged.
func (c *Client) delivered(customer string, upTo int64) bool {
	queues := c.queues.Load()
	if queues == nil {
		return false
	}
	oldest := (*queues)[events.PartitionOf(customer, len(*queues))].oldest.Load()
	return oldest == 0 || oldest > upTo
}

// Flush waits until everything that was recorded before it is acknowledged.
func (c *Client) Flush(ctx context.Context) error {
	if c.disabled {
		return nil
	}
	for queues := c.queues.Load(); queues == nil; queues = c.queues.Load() {
		if c.pending.empty() {
			return nil
		}
		if err := c.waitFor(ctx, c.synced); err != nil {
			return err
		}
	}
	queues := *c.queues.Load()
	for i := range queues {
		done := make(chan struct{})
		if queues[i].newest(done) {
			if err := c.waitFor(ctx, done); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *pending) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events) == 0
}

func (c *Client) waitFor(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d events wait for their acknowledgement: %w", c.budget.taken(), ctx.Err())
	case <-c.workers.ctx.Done():
		return ErrClosed
	}
}
