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

// lane is what goes to one partition, in order. One message of it is under way
// at a time, and what is recorded meanwhile shares the next one: so an idle app
// sends at once, and a busy one sends few large messages.
type lane struct {
	mu      sync.Mutex
	subject string
	busy    bool    // a goroutine sends
	flying  *pack   // under way
	full    []*pack // sealed, oldest first
	open    *pack   // takes further events; nil or not empty
	// oldest is about when the oldest event that is not acknowledged was
	// recorded, and not later; 0: there is none.
	oldest atomic.Int64
	_      [32]byte
}

// pack is a message in the making.
type pack struct {
	body   []byte
	most   int // bytes
	events int
	room   int
	since  int64 // when its first event was recorded, or before
	done   []chan struct{}
}

// add packs an event and says whether the caller must start a sender.
func (l *lane) add(h *held, now int64, most func() int) (start bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.begin(now, most())
	}
	p := l.open
	before := len(p.body)
	p.body = events.AppendBatch(p.body, &h.e)
	if len(p.body) > p.most && before > 0 {
		l.full = append(l.full, p)
		l.begin(now, p.most)
		l.open.body = append(l.open.body, p.body[before:]...)
		p.body = p.body[:before]
		p = l.open
	}
	p.events++
	p.room += h.size
	if h.done != nil {
		p.done = append(p.done, h.done)
	}
	start = !l.busy
	l.busy = true
	return start
}

func (l *lane) begin(now int64, most int) {
	l.open = &pack{since: now, most: most, body: (*bodies.Get().(*[]byte))[:0]}
	if l.oldest.Load() == 0 {
		l.oldest.Store(now)
	}
}

// bodies are reused: the connection has copied a body when its publish returns.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// next takes back the message that was acknowledged and returns the next one to
// send; with none, the sender has stopped.
func (l *lane) next() *pack {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying = nil
	switch {
	case len(l.full) > 0:
		l.flying = l.full[0]
		l.full[0] = nil
		l.full = l.full[1:]
	case l.open != nil:
		l.flying, l.open = l.open, nil
	default:
		l.busy = false
		l.oldest.Store(0)
		return nil
	}
	l.oldest.Store(l.flying.since)
	return l.flying
}

// newest lets done be closed when all that is in the lane now is acknowledged;
// it says whether there is anything.
func (l *lane) newest(done chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.flying
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

// take returns those who wait for p, which is acknowledged.
func (l *lane) take(p *pack) []chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := p.done
	p.done = nil
	l.flying = nil
	return done
}

// send publishes a lane's messages until there are none, or until ctx ends.
func (c *Client) send(ctx context.Context, l *lane) {
	for p := l.next(); p != nil; p = l.next() {
		if !c.deliver(ctx, l.subject, p) {
			return
		}
		for _, done := range l.take(p) {
			close(done)
		}
		c.room.give(p.events, p.room)
		body := p.body
		bodies.Put(&body)
	}
}

// deliver publishes a message until it is acknowledged; false means that ctx
// has ended.
func (c *Client) deliver(ctx context.Context, subject string, p *pack) bool {
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
		if !errors.Is(err, errAway) { // which the watch reports, once for all partitions
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

// era is the time from one connect to the next. The zero value is ready.
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

// next begins a new era.
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

// maxBody is how large a message may be.
func (c *Client) maxBody() int {
	if c.nc != nil {
		if n := int(c.nc.MaxPayload()); n > 2*events.MaxEventBytes && n-1024 < events.MaxBatchBytes {
			return n - 1024 // for the headers
		}
	}
	return events.MaxBatchBytes
}

// delivered says whether everything that was recorded of a customer up to a
// moment is acknowledged.
func (c *Client) delivered(customer string, upTo int64) bool {
	lanes := c.lanes.Load()
	if lanes == nil {
		return false
	}
	oldest := (*lanes)[events.PartitionOf(customer, len(*lanes))].oldest.Load()
	return oldest == 0 || oldest > upTo
}

// Flush waits until everything that was recorded before it is acknowledged.
func (c *Client) Flush(ctx context.Context) error {
	if c.disabled {
		return nil
	}
	for lanes := c.lanes.Load(); lanes == nil; lanes = c.lanes.Load() {
		if c.lobby.empty() {
			return nil
		}
		if err := c.waitFor(ctx, c.synced); err != nil {
			return err
		}
	}
	lanes := *c.lanes.Load()
	for i := range lanes {
		done := make(chan struct{})
		if lanes[i].newest(done) {
			if err := c.waitFor(ctx, done); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lobby) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events) == 0
}

func (c *Client) waitFor(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d events wait for their acknowledgement: %w", c.room.taken(), ctx.Err())
	case <-c.crew.ctx.Done():
		return ErrClosed
	}
}
