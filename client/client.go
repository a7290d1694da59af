package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of a Client, wrapped with detail.
var (
	// ErrClosed is returned by Record, RecordAck and Identify after Close.
	ErrClosed = errors.New("the client is closed")
	// ErrBufferFull is returned by Record and RecordAck when the buffer was full
	// until their context ended. The event was not accepted.
	ErrBufferFull = errors.New("the buffer of usage events is full")
	// ErrUndelivered is returned by Close when its context ended before
	// everything in the buffer was acknowledged; the detail says how many
	// events were not. Some may have been stored.
	ErrUndelivered = errors.New("usage events were not delivered")

	errAway = errors.New("not connected to NATS")
)

// disabledVariable in an app's environment, set to 1, makes every client allow
// everything and record nothing.
const disabledVariable = "TIDEGATE_DISABLED"

// Client checks decisions and records usage. It is safe for concurrent use.
// Close delivers the buffered events and ends the client's goroutines. The caller
// closes the NATS connection.
type Client struct {
	config
	nc       *nats.Conn          // nil in memory and over HTTP
	js       jetstream.JetStream // nil in memory and over HTTP
	remote   *remote             // nil unless over HTTP
	disabled bool
	now      func() time.Time
	created  time.Time

	cache    *cache
	coarse   atomic.Int64 // the time in Unix nanoseconds, behind by up to a tick
	seen     atomic.Int64 // when the cache was last known to be current; 0: never
	current  atomic.Int64 // since when it has been without a break; 0: it is not
	stale    atomic.Bool  // older than MaxAge
	synced   chan struct{}
	syncOnce sync.Once

	budget    *budget
	pending   pending
	queues    atomic.Pointer[[]partitionQueue] // by partition; nil until their number is known
	ids       idMaker
	repeats   repeats
	connected era
	revision  uint64 // of the newest value that a watch has had; only watchForever uses it

	closing atomic.Bool
	workers workers
}

// New returns a client on a connection that the app has made, best with
// nats.MaxReconnects(-1) and nats.RetryOnFailedConnect(true). New returns at once,
// whether the servers can be reached or not.
func New(nc *nats.Conn, opts ...Option) (*Client, error) { return newClient(nc, nil, opts) }

func newClient(nc *nats.Conn, r *remote, opts []Option) (*Client, error) {
	c := &Client{nc: nc, remote: r, now: time.Now, synced: make(chan struct{}), cache: newCache(), ids: newIDMaker()}
	c.config = config{buffer: defaultBuffer, confirmWithin: defaultConfirm, carryFor: defaultCarry, closed: map[string]bool{}, logger: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		if err := o(&c.config); err != nil {
			return nil, fmt.Errorf("tidegate client: %w", err)
		}
	}
	c.created = c.now()
	c.coarse.Store(c.created.UnixNano())
	c.budget = newBudget(c.buffer, bufferBytes)
	switch {
	case os.Getenv(disabledVariable) == "1":
		c.disabled = true
		close(c.synced)
		return c, nil
	case c.memory != nil:
		c.workers.start()
		c.attach()
	case r != nil:
		c.workers.start()
		c.workers.run(c.followForever)
	case nc == nil:
		return nil, errors.New("tidegate client: no NATS connection")
	default:
		js, err := jetstream.New(nc)
		if err != nil {
			return nil, fmt.Errorf("tidegate client: %w", err)
		}
		c.js = js
		c.workers.start()
		c.workers.run(c.watchForever)
	}
	c.workers.run(c.keepTime)
	return c, nil
}

// attach takes the values of the decisions bucket from memory.
func (c *Client) attach() {
	first := newDraft(0)
	in := intake{c: c, to: first, complete: true}
	c.memory.Attach(func(key string, value []byte) error {
		now, one := c.now(), entry{key: key, value: value}
		if in.live() {
			return c.cache.apply(one, now)
		}
		if err := c.cache.load(in.to, one); err != nil {
			return err
		}
		in.publish(now)
		return nil
	})
}

// Synced is closed when the first decisions and gates have arrived; until then
// the fail policy answers.
func (c *Client) Synced() <-chan struct{} { return c.synced }

// Ready reports whether the client was ever synced.
func (c *Client) Ready() bool {
	select {
	case <-c.synced:
		return true
	default:
		return false
	}
}

// Age returns how long ago the decisions were last known to be current: a few
// seconds at most while the servers answer, and more while they do not. Before the
// first sync it counts from New.
func (c *Client) Age() time.Duration {
	if c.disabled {
		return 0
	}
	if at := c.seen.Load(); at != 0 {
		return max(0, c.now().Sub(time.Unix(0, at)))
	}
	return c.now().Sub(c.created)
}

// Close refuses further records, waits until the buffered ones are acknowledged,
// and ends the client. If ctx ends first, it returns ErrUndelivered with the number
// of events that were not acknowledged. A second Close does nothing.
func (c *Client) Close(ctx context.Context) error {
	if c.disabled || c.closing.Swap(true) {
		return nil
	}
	err := c.budget.empty(ctx)
	c.workers.stop()
	if c.remote != nil {
		c.remote.http.CloseIdleConnections()
	}
	if n := c.budget.taken(); err != nil && n > 0 {
		return fmt.Errorf("%w: %d events: %w", ErrUndelivered, n, err)
	}
	return nil
}

// report tells the app of an error after which the client tries again.
func (c *Client) report(message string, err error) {
	if c.onError != nil {
		c.onError(fmt.Errorf("tidegate client: %s: %w", message, err))
	}
	c.logger.Warn("tidegate client retries", "what", message, "error", err)
}

// workers runs the goroutines of a client.
type workers struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (w *workers) start() { w.ctx, w.cancel = context.WithCancel(context.Background()) }

// run starts f on a goroutine of its own, unless the workers have been stopped.
func (w *workers) run(f func(ctx context.Context)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() == nil {
		w.wg.Go(func() { f(w.ctx) })
	}
}

// stop ends all goroutines and waits for them.
func (w *workers) stop() {
	w.mu.Lock()
	w.cancel()
	w.mu.Unlock()
	w.wg.Wait()
}
