package stream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// heartbeat is how often a server that has nothing to deliver says so. Twice
	// that without a sign, and the consumer is taken for gone.
	heartbeat = 2 * time.Second
	// makeTimeout is how long making a consumer may take at first, and longer each
	// time: a server that is just coming back answers nothing at all.
	makeTimeout  = time.Second
	longestMake  = 5 * time.Second
	shortestWait = 50 * time.Millisecond
	longestWait  = time.Second
)

// feed reads a part of a stream in order, without acknowledgements and without
// a gap, whatever becomes of the servers.
//
// The library's ordered consumer does so too, but repeats the making of its
// consumer under one name. In a cluster a name may be given to a node that has
// just died, and then waits there until the node comes back. A feed takes a new
// name each time, and notices sooner that a consumer has died with its node.
type feed struct {
	js     jetstream.JetStream
	log    *slog.Logger
	stream string
	filter string
	take   func(jetstream.Msg, delivery) // may block

	mu     sync.Mutex // held while a message is taken
	last   uint64     // sequence of the last message taken
	serial int        // of the consumer whose messages are taken
}

// consumption is the reading from one consumer.
type consumption struct {
	stop   func()
	broken chan struct{} // has an element once it must be replaced
}

// open makes a consumer and begins to read from it.
func (f *feed) open(ctx context.Context, timeout time.Duration) (*consumption, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f.mu.Lock()
	f.serial++
	serial, from := f.serial, f.last+1
	f.mu.Unlock()
	cons, err := f.js.CreateConsumer(ctx, f.stream, jetstream.ConsumerConfig{
		FilterSubject: f.filter, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
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
			return // a newer one reads
		}
		at := delivered(msg.Reply())
		if at.consumerSeq != next { // one was lost on its way
			f.serial++
			c.breaks()
			return
		}
		next++
		f.take(msg, at)
		f.last = at.seq
	}, jetstream.PullMaxMessagesWithBytesLimit(10_000, 16<<20), jetstream.PullHeartbeat(heartbeat),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { c.breaks() }))
	if err != nil {
		return nil, err
	}
	c.stop = cc.Stop
	return c, nil
}

func (c *consumption) breaks() {
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
	wait := shortestWait
	for {
		opened := time.Now()
		select {
		case <-ctx.Done():
			c.stop()
			return
		case <-c.broken:
		case <-connected: // what was on its way to the old connection is lost
		}
		c.stop()
		if time.Since(opened) > longestWait {
			wait = shortestWait
		}
		if c, wait = f.reopen(ctx, connected, wait); c == nil {
			return
		}
	}
}

// reopen tries until there is a new consumer; nil when ctx is done.
func (f *feed) reopen(ctx context.Context, connected <-chan nats.Status, wait time.Duration) (*consumption, time.Duration) {
	told := false
	for timeout := makeTimeout; ; timeout = min(timeout+makeTimeout, longestMake) {
		c, err := f.open(ctx, timeout)
		if err == nil {
			return c, wait
		}
		if ctx.Err() != nil {
			return nil, wait
		}
		if wait == longestWait && !told {
			told = true
			f.log.Warn("reading_waits", "stream", f.stream, "filter", f.filter, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, wait
		case <-connected:
			wait = shortestWait
		case <-time.After(wait):
			wait = min(2*wait, longestWait)
		}
	}
}
