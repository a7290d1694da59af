package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// heartbeat is how often a server that has nothing to deliver says so. After
	// twice that time without a message the feed replaces its consumer.
	heartbeat = 2 * time.Second
	// openTimeout bounds the first attempt to make a consumer. Later attempts may
	// take longer, up to maxOpenTimeout: a server that is just coming back does
	// not answer at all.
	openTimeout    = time.Second
	maxOpenTimeout = 5 * time.Second
	// minReopenWait and maxReopenWait bound the pause between two attempts.
	minReopenWait = 50 * time.Millisecond
	maxReopenWait = time.Second
)

// feed reads a part of a stream in order, without acknowledgements and without
// gaps, through restarts and losses of servers.
//
// The library's ordered consumer does that, too, but makes its consumer again
// under the same name. A cluster may give that name to a node that has just
// died, and the consumer then waits for the node. A feed takes a new name each
// time, and notices earlier that a consumer has died with its node.
type feed struct {
	js      jetstream.JetStream
	log     *slog.Logger
	stream  string
	filters []string
	take    func(jetstream.Msg, delivery) // may block

	setBack func(error) // called when the stream has lost messages that were taken

	mu     sync.Mutex // held while take runs
	last   uint64     // sequence of the last message taken
	at     time.Time  // when it was stored
	gone   int        // how often in a row the stream did not have it
	serial int        // of the consumer whose messages are taken
}

// consumption is the reading from one consumer.
type consumption struct {
	stop   func()
	broken chan struct{} // has an element when the consumer must be replaced
}

// open makes a consumer behind the last message and starts reading from it.
func (f *feed) open(ctx context.Context, timeout time.Duration) (*consumption, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f.mu.Lock()
	f.serial++
	serial, from := f.serial, f.last+1
	f.mu.Unlock()
	cons, err := f.js.CreateConsumer(ctx, f.stream, jetstream.ConsumerConfig{
		FilterSubjects: f.filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 2 * time.Minute,
	})
	if err != nil {
		return nil, err
	}
	c := &consumption{broken: make(chan struct{}, 1)}
	next := uint64(1)
	cc, err := cons.Consume(func(msg jetstream.Msg) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.serial != serial {
			return // a newer consumer has replaced this one
		}
		at := parseDelivery(msg.Reply())
		if at.consumerSeq != next { // a message was lost on its way
			f.serial++
			c.markBroken()
			return
		}
		next++
		f.take(msg, at)
		f.last, f.at = at.seq, at.time
	}, jetstream.PullMaxMessagesWithBytesLimit(10_000, 16<<20), jetstream.PullHeartbeat(heartbeat),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { c.markBroken() }))
	if err != nil {
		return nil, err
	}
	c.stop = cc.Stop
	return c, nil
}

func (c *consumption) markBroken() {
	select {
	case c.broken <- struct{}{}:
	default:
	}
}

// follow replaces c whenever it breaks, until ctx is done.
func (f *feed) follow(ctx context.Context, c *consumption) {
	nc := f.js.Conn()
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	wait := minReopenWait
	for {
		opened := time.Now()
		select {
		case <-ctx.Done():
			c.stop()
			return
		case <-c.broken:
		case <-connected: // messages on their way to the old connection are lost
		}
		c.stop()
		if time.Since(opened) > maxReopenWait {
			wait = minReopenWait
		}
		if c, wait = f.reopen(ctx, connected, wait); c == nil {
			return
		}
	}
}

// check returns ErrSetBack if, for some attempts in a cluster, the stream no longer has the last message taken, and
// jetstream.ErrStreamNotFound if there is no stream.
func (f *feed) check(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := f.js.Stream(ctx, f.stream)
	if err != nil {
		return err
	}
	f.mu.Lock()
	pos := Position{Seq: f.last, At: f.at}
	f.mu.Unlock()
	cut, err := locate(ctx, f.js, s, pos)
	switch {
	case err != nil:
		return err
	case cut == pos.Seq:
		f.gone = 0
		return nil
	}
	if f.gone++; f.gone < settleAttempts(s) {
		return fmt.Errorf("%s does not have what was read", f.stream)
	}
	return fmt.Errorf("%s: %w: it goes on after %d, and was read up to %d", f.stream, ErrSetBack, cut, pos.Seq)
}

// reopen opens a new consumer, with as many attempts as it takes; it returns nil
// when ctx is done, and when what was read is gone.
func (f *feed) reopen(ctx context.Context, connected <-chan nats.Status, wait time.Duration) (*consumption, time.Duration) {
	logged := false
	for timeout := openTimeout; ; timeout = min(timeout+openTimeout, maxOpenTimeout) {
		err := f.check(ctx, timeout)
		if errors.Is(err, ErrSetBack) || errors.Is(err, jetstream.ErrStreamNotFound) {
			f.setBack(err)
			return nil, wait
		}
		if err == nil {
			var c *consumption
			if c, err = f.open(ctx, timeout); err == nil {
				return c, wait
			}
		}
		if ctx.Err() != nil {
			return nil, wait
		}
		if wait == maxReopenWait && !logged {
			logged = true
			f.log.Warn("reading_waits", "stream", f.stream, "filters", f.filters, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, wait
		case <-connected:
			wait = minReopenWait
		case <-time.After(wait):
			wait = min(2*wait, maxReopenWait)
		}
	}
}
