package client

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	callTimeout  = 5 * time.Second // one request to the servers
	askTimeout   = 2 * time.Second // one page of the bucket, during which reconnects are not noticed
	probeEvery   = 2 * time.Second
	tick         = 500 * time.Millisecond // of the coarse clock
	confirmEvery = 3 * time.Second
	shortestWait = 50 * time.Millisecond
	longestWait  = 5 * time.Second
	defaultCarry = time.Minute // in which a bucket that was set back is repaired
)

var (
	errReconnected = errors.New("the connection was made anew")
	errWatchEnded  = errors.New("the watch ended")
	errSetBack     = errors.New("the decisions bucket ends before what it held")
	errCarried     = errors.New("what was carried over a loss of the bucket has had its time")
)

// watchForever keeps the cache in step with the bucket until ctx ends. It is
// the only writer of the cache.
func (c *Client) watchForever(ctx context.Context) {
	status := c.nc.StatusChanged(nats.CONNECTED)
	defer c.nc.RemoveStatusListener(status)
	wait := shortestWait
	for ctx.Err() == nil {
		synced, err := c.watchOnce(ctx, status)
		c.current.Store(0)
		if ctx.Err() != nil {
			return
		}
		if synced || errors.Is(err, errReconnected) {
			wait = shortestWait
		} else {
			c.report("decisions cannot be watched now", err)
		}
		wait = c.pause(ctx, status, wait)
	}
}

// pause waits, or until the connection is made anew, and returns how long to
// wait the next time.
func (c *Client) pause(ctx context.Context, status <-chan nats.Status, wait time.Duration) time.Duration {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return wait
		case <-timer.C:
			return min(2*wait, longestWait)
		case _, ok := <-status:
			c.connected.next()
			if ok {
				return shortestWait
			}
			status = nil // the app has closed the connection for good
		}
	}
}

// watchOnce follows the bucket until that fails or the client has reconnected. It
// reports whether the cache was synced.
func (c *Client) watchOnce(ctx context.Context, status <-chan nats.Status) (synced bool, err error) {
	if !c.nc.IsConnected() {
		return false, errAway
	}
	reconnects := c.nc.Stats().Reconnects
	w := watch{c: c, bucket: newBucket(c.nc, c.names), in: intake{c: c, to: newDraft(0), former: c.revision}, answer: make(chan uint64, 2)}
	puts := make(chan *nats.Msg, waitingPuts)
	sub, err := c.nc.ChanSubscribe(w.bucket.puts, puts)
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails when the connection is closed, which ends it too
	if err := w.begin(ctx); err != nil {
		return false, err
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	defer w.remember()
	for {
		select {
		case <-ctx.Done():
			return w.in.live(), ctx.Err()
		case _, ok := <-status:
			c.connected.next()
			if ok && c.nc.Stats().Reconnects == reconnects {
				continue // said before this watch began
			}
			return w.in.live(), errReconnected
		case m := <-puts:
			err = w.put(ctx, m)
		case last := <-w.answer:
			err = w.compare(ctx, last)
		case <-ticker.C:
			w.probe(ctx)
			if c.nc.Stats().Reconnects != reconnects {
				c.connected.next()
				err = errReconnected
			} else if w.in.carriedTooLong(c.now()) {
				err = errCarried
			}
		}
		if err != nil {
			return w.in.live(), err
		}
	}
}

// watch follows the bucket over one connection. Messages of republished values may
// get lost, and are missed at the next one, or at the next probe.
type watch struct {
	c      *Client
	bucket *bucket
	in     intake
	late   bool // the last probe was behind what is known
	asked  time.Time
	answer chan uint64 // of probes: the sequence of the newest value
}

// remember keeps how far the watch came, by which the next one sees a loss.
func (w *watch) remember() {
	if w.in.live() {
		w.c.revision = w.in.revision
	}
}

// begin reads what is in the bucket. The servers know the subscription before.
func (w *watch) begin(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := w.c.nc.FlushWithContext(asking); err != nil {
		return err
	}
	if err := w.bucket.readFrom(ctx, 1, w.in.take); err != nil {
		return err
	}
	w.in.complete = true
	w.in.publish(w.c.now())
	return nil
}

// put takes a value that was republished.
func (w *watch) put(ctx context.Context, m *nats.Msg) error {
	v, err := w.bucket.parse(m)
	switch {
	case err != nil, v.seq <= w.in.revision:
		return nil // known, or not from the stream
	case v.seq > w.in.revision+1: // some before it were lost
		if err := w.bucket.readFrom(ctx, w.in.revision+1, w.in.take); err != nil {
			return err
		}
	}
	if v.seq == w.in.revision+1 {
		w.in.take(v)
	}
	return nil
}

// probe asks for the newest value, from time to time.
func (w *watch) probe(ctx context.Context) {
	if now := w.c.now(); w.in.live() && now.Sub(w.asked) >= probeEvery {
		w.asked = now
		go func() {
			if last, err := w.bucket.last(ctx); err == nil {
				w.answer <- last
			}
		}()
	}
}

// compare reads what the watch has missed. A bucket that twice ends before what is
// known is another one; once it may be a server's that has not caught up.
func (w *watch) compare(ctx context.Context, last uint64) error {
	late := last < w.in.revision
	if late && w.late {
		return errSetBack
	}
	w.late = late
	if last <= w.in.revision {
		return nil
	}
	return w.bucket.readFrom(ctx, w.in.revision+1, w.in.take)
}

// intake takes the values that one watch brings.
type intake struct {
	c        *Client
	to       *draft // until it is published
	complete bool   // all initial values are there
	revision uint64 // of the newest value
	former   uint64 // of the newest value that the watch before had
	carried  time.Time
}

func (in *intake) live() bool { return in.to == nil }

func (in *intake) take(v value) {
	now := in.c.now()
	in.revision = max(in.revision, v.seq)
	var err error
	if in.live() {
		err = in.c.cache.apply(v.entry, now)
	} else {
		err = in.c.cache.load(in.to, v.entry)
		in.publish(now)
	}
	if err != nil {
		in.c.report("a value in the decisions bucket cannot be read", err)
	}
}

// publish shows the draft to readers once it is complete: with all initial values
// and the gates, without which nothing can be decided.
func (in *intake) publish(now time.Time) {
	if !in.complete || in.to.gates == nil {
		return
	}
	if in.revision < in.former { // the owners of the partitions repair it one after the other
		in.c.cache.carry(in.to)
		in.carried = now
	}
	in.c.cache.publish(in.to, now)
	in.to = nil
	in.c.becameSynced(now)
}

// carriedTooLong reports whether the bucket must have been repaired: what it lacks now is
// gone.
func (in *intake) carriedTooLong(now time.Time) bool {
	return !in.carried.IsZero() && now.Sub(in.carried) >= in.c.carryFor
}

// becameSynced notes that the cache is whole and current.
func (c *Client) becameSynced(now time.Time) {
	c.seen.Store(now.UnixNano())
	c.current.Store(now.UnixNano())
	c.stale.Store(false)
	c.setPartitions(c.cache.view.Load().gates.partitions)
	c.syncOnce.Do(func() { close(c.synced) })
}

// keepTime moves the coarse clock, measures the age of the cache, and confirms the
// counts.
func (c *Client) keepTime(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var probed, confirmed time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := c.now()
		c.coarse.Store(now.UnixNano())
		if now.Sub(probed) >= probeEvery {
			probed = now
			c.probe(ctx, now)
		}
		if c.maxAge > 0 {
			c.stale.Store(c.Age() > c.maxAge)
		}
		if now.Sub(confirmed) >= confirmEvery {
			confirmed = now
			if current := c.current.Load(); current != 0 {
				c.cache.confirm(now, current, c.confirmWithin, c.delivered)
			}
		}
	}
}

// probe notes that the cache is current if the server answers.
func (c *Client) probe(ctx context.Context, now time.Time) {
	if c.current.Load() == 0 || c.remote != nil { // over HTTP the stream says so by itself
		return
	}
	asking, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	if c.nc != nil && c.nc.FlushWithContext(asking) != nil {
		return
	}
	if c.current.Load() != 0 {
		c.seen.Store(now.UnixNano())
	}
}
