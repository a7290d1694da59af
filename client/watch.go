package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

const (
	callTimeout  = 5 * time.Second  // one request to the servers
	askTimeout   = 2 * time.Second  // one for the bucket, during which reconnects are not noticed
	syncStalled  = 10 * time.Second // initial values that stop coming
	probeEvery   = 2 * time.Second
	tick         = 500 * time.Millisecond // of the coarse clock
	settleEvery  = 3 * time.Second
	shortestWait = 50 * time.Millisecond
	longestWait  = 5 * time.Second
)

var (
	errReconnected = errors.New("the connection was made anew")
	errWatchEnded  = errors.New("the watch ended")
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

// watchOnce watches the bucket until the watch breaks or the connection is made
// anew: a watcher of before a broker's restart stays blind for up to 20 s. It
// says whether the cache was synced.
func (c *Client) watchOnce(ctx context.Context, status <-chan nats.Status) (synced bool, err error) {
	reconnects := c.nc.Stats().Reconnects
	bucket := c.names.Bucket(events.BucketDecisions)
	w, err := c.openWatch(ctx, bucket)
	if err != nil {
		return false, err
	}
	defer closeWatch(w)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	in := intake{c: c, to: newDraft(0), progress: c.now()}
	for {
		select {
		case <-ctx.Done():
			return in.live(), ctx.Err()
		case _, ok := <-status:
			c.connected.next()
			if ok && c.nc.Stats().Reconnects == reconnects {
				continue // said before this watch began
			}
			return in.live(), errReconnected
		case e, ok := <-w.Updates():
			if !ok {
				return in.live(), errWatchEnded
			}
			in.take(e)
		case <-ticker.C:
			switch {
			case c.nc.Stats().Reconnects != reconnects:
				c.connected.next()
				return in.live(), errReconnected
			case !in.complete && c.now().Sub(in.progress) > syncStalled:
				return false, fmt.Errorf("bucket %s: its values stopped coming", bucket)
			}
		}
	}
}

func (c *Client) openWatch(ctx context.Context, bucket string) (jetstream.KeyWatcher, error) {
	if !c.nc.IsConnected() {
		return nil, errAway
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	kv, err := c.js.KeyValue(asking, bucket)
	if err == nil {
		var w jetstream.KeyWatcher
		if w, err = kv.WatchAll(ctx); err == nil {
			return w, nil
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
		return nil, fmt.Errorf("bucket %s: no answer; denied permissions also look like this: %w", bucket, err)
	}
	return nil, fmt.Errorf("bucket %s: %w", bucket, err)
}

// closeWatch ends a watch. Its callback may stand in the full channel, so what
// is left must be read until the channel is closed.
func closeWatch(w jetstream.KeyWatcher) {
	// The channel closes at once; the rest of Stop, which tells the server, may
	// take until its time-out when the server is away. Close must not.
	go func() { _ = w.Stop() }() // fails when the connection is closed, which ends it too
	end := time.NewTimer(callTimeout)
	defer end.Stop()
	for {
		select {
		case _, ok := <-w.Updates():
			if !ok {
				return
			}
		case <-end.C:
			return
		}
	}
}

// intake is what one watch has brought.
type intake struct {
	c        *Client
	to       *draft // until it is published
	complete bool   // all initial values are there
	progress time.Time
}

func (in *intake) live() bool { return in.to == nil }

func (in *intake) take(e jetstream.KeyValueEntry) {
	now := in.c.now()
	in.progress = now
	if e == nil {
		in.complete = true
		in.publish(now)
		return
	}
	one := entry{key: e.Key()}
	if e.Operation() == jetstream.KeyValuePut {
		one.value = e.Value()
	}
	var err error
	if in.live() {
		err = in.c.cache.apply(one, now)
	} else {
		err = in.c.cache.load(in.to, one)
		in.publish(now)
	}
	if err != nil {
		in.c.report("a value in the decisions bucket cannot be read", err)
	}
}

// publish makes the draft what readers see, once it is whole: with all initial
// values, and with the gates, without which nothing can be judged.
func (in *intake) publish(now time.Time) {
	if !in.complete || in.to.gates == nil {
		return
	}
	in.c.cache.publish(in.to, now)
	in.to = nil
	in.c.becameSynced(now)
}

// becameSynced notes that the cache is whole and current.
func (c *Client) becameSynced(now time.Time) {
	c.seen.Store(now.UnixNano())
	c.current.Store(now.UnixNano())
	c.stale.Store(false)
	c.setPartitions(c.cache.view.Load().gates.partitions)
	c.syncOnce.Do(func() { close(c.synced) })
}

// keepTime moves the coarse clock, measures the age of the cache, and settles
// the counts.
func (c *Client) keepTime(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var probed, settled time.Time
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
		if now.Sub(settled) >= settleEvery {
			settled = now
			if current := c.current.Load(); current != 0 {
				c.cache.settle(now, current, c.settle, c.delivered)
			}
		}
	}
}

// probe notes that the cache is current if the server answers.
func (c *Client) probe(ctx context.Context, now time.Time) {
	if c.current.Load() == 0 || c.remote != nil { // its stream says so by itself
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
