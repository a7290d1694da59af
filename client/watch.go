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
	confirmEvery = 3 * time.Second
	shortestWait = 50 * time.Millisecond
	longestWait  = 5 * time.Second
)

var (
	errReconnected = errors.New("the connection was made anew")
	errWatchEnded  = errors.New("the watch ended")
	errBlind       = errors.New("the bucket has changed, and the watch has not said so")
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

// watchOnce watches the bucket until the watch breaks or the client has
// reconnected: a watcher from before a broker's restart sees nothing for up to
// 20 s. It reports whether the cache was synced.
func (c *Client) watchOnce(ctx context.Context, status <-chan nats.Status) (synced bool, err error) {
	reconnects := c.nc.Stats().Reconnects
	bucket := c.names.Bucket(events.BucketDecisions)
	w, last, err := c.openWatch(ctx, bucket)
	if err != nil {
		return false, err
	}
	defer closeWatch(w)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	in := intake{c: c, to: newDraft(0), progress: c.now()}
	dog := watchdog{newest: last, answer: make(chan uint64, 2), asked: c.now()}
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
		case last := <-dog.answer:
			if dog.blind(last, in.revision) {
				return in.live(), errBlind
			}
		case <-ticker.C:
			if in.live() && c.now().Sub(dog.asked) >= probeEvery {
				dog.asked = c.now()
				go func() { dog.answer <- c.lastSeq(ctx, bucket) }()
			}
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

// openWatch also returns the sequence of the bucket's last message before.
func (c *Client) openWatch(ctx context.Context, bucket string) (w jetstream.KeyWatcher, last uint64, err error) {
	if !c.nc.IsConnected() {
		return nil, 0, errAway
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	kv, err := c.js.KeyValue(asking, bucket)
	if err == nil {
		var s jetstream.Stream
		if s, err = c.js.Stream(asking, "KV_"+bucket); err == nil {
			if w, err = kv.WatchAll(ctx); err == nil {
				return w, s.CachedInfo().State.LastSeq, nil
			}
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
		return nil, 0, fmt.Errorf("bucket %s: no answer; denied permissions also look like this: %w", bucket, err)
	}
	return nil, 0, fmt.Errorf("bucket %s: %w", bucket, err)
}

// watchdog notices that a watch brings nothing any more. When a node of a cluster
// goes, the library notices only after 10 to 20 s that its watch was there.
type watchdog struct {
	newest  uint64 // sequence that the watch need not reach
	behind  bool   // at the last observation
	reached uint64 // by the watch, at the last observation
	asked   time.Time
	answer  chan uint64
}

// blind reports whether the bucket was ahead of the watch at two observations
// between which the watch brought nothing. A last of 0 is not known.
func (s *watchdog) blind(last, reached uint64) bool {
	if last == 0 {
		return false
	}
	behind := last > max(s.newest, reached)
	blind := behind && s.behind && s.reached == reached
	s.behind, s.reached = behind, reached
	return blind
}

func (c *Client) lastSeq(ctx context.Context, bucket string) uint64 {
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	s, err := c.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.LastSeq
}

// closeWatch ends a watch. The library's callback may be waiting to write into the
// full channel, so closeWatch reads the channel until it is closed.
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

// intake takes the values that one watch brings.
type intake struct {
	c        *Client
	to       *draft // until it is published
	complete bool   // all initial values are there
	revision uint64 // of the newest value
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
	in.revision = max(in.revision, e.Revision())
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

// publish shows the draft to readers once it is complete: with all initial values
// and the gates, without which nothing can be decided.
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
