package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// ErrUnavailable is returned while a stream takes no messages. Some events may have
// been stored: publish them again with the same ids.
var ErrUnavailable = errors.New("the stream cannot take it now")

// Bounds of a Publisher.
const (
	publishTimeout = 5 * time.Second // for one message's acknowledgement
	inFlightMost   = 2               // messages of one partition at a time
	maxPending     = 128 << 20       // bytes that wait for acknowledgements, of all partitions
)

// Publisher publishes events to USAGE in a batch for each partition. Events of
// concurrent calls share a batch, so a busy server publishes few large messages
// and an idle one publishes at once. It is safe for concurrent use and needs no
// closing.
type Publisher struct {
	js      jetstream.JetStream
	names   events.Names
	queues  map[string][]partitionQueue // by last token of the subject, then by partition
	pending atomic.Int64
}

// partitionQueue holds the events for one subject, in order of arrival.
type partitionQueue struct {
	mu      sync.Mutex
	subject string
	full    []*batch // sealed, oldest first
	open    *batch   // takes further events; nil or not empty
	busy    int      // goroutines that send
}

// batch is a message in the making, and the outcome of publishing it.
type batch struct {
	body   []byte
	events int
	done   chan struct{} // closed when err is set
	err    error
}

// NewPublisher returns a Publisher for streams of that many partitions.
func NewPublisher(js jetstream.JetStream, names events.Names, partitions int) *Publisher {
	p := &Publisher{js: js, names: names, queues: map[string][]partitionQueue{}}
	for _, token := range []string{events.BatchToken, events.ImportToken} {
		queues := make([]partitionQueue, partitions)
		for i := range queues {
			queues[i].subject = names.Usage(i, token)
		}
		p.queues[token] = queues
	}
	return p
}

// Publish stores events, which must be valid and have ids, and returns after
// all were acknowledged. token is events.BatchToken for usage, or
// events.ImportToken for history. When ctx ends, Publish returns, and the events
// are published all the same. It does not keep list.
func (p *Publisher) Publish(ctx context.Context, list []events.Event, token string) error {
	queues, ok := p.queues[token]
	if !ok {
		return fmt.Errorf("usage cannot be published to %q", token)
	}
	if n := p.pending.Load(); n > maxPending {
		return fmt.Errorf("%w: %d bytes wait for acknowledgements", ErrUnavailable, n)
	}
	joined := make([]*batch, 0, 8)
	touched := make([]bool, len(queues))
	last := make([]*batch, len(queues))
	for i := range list {
		n := events.PartitionOf(list[i].Subject, len(queues))
		touched[n] = true
		m, size := queues[n].add(&list[i])
		p.pending.Add(int64(size))
		if m != last[n] {
			last[n] = m
			joined = append(joined, m)
		}
	}
	for n := range queues {
		if touched[n] {
			p.startSender(&queues[n])
		}
	}
	var failed error
	for _, m := range joined {
		select {
		case <-m.done:
			if m.err != nil {
				failed = m.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failed
}

// add puts an event into a batch. It returns the batch, and the size there.
func (l *partitionQueue) add(e *events.Event) (*batch, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = newBatch()
	}
	m := l.open
	before := len(m.body)
	m.body = events.AppendBatch(m.body, e)
	size := len(m.body) - before
	if len(m.body) > events.MaxBatchBytes && before > 0 || m.events == events.MaxBatchEvents {
		l.open = newBatch()
		l.open.body = append(l.open.body, m.body[before:]...)
		m.body = m.body[:before]
		l.full = append(l.full, m)
		m = l.open
	}
	m.events++
	return m, size
}

// startSender starts a sender if batches wait and too few are sending.
func (p *Publisher) startSender(l *partitionQueue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy < inFlightMost && (l.open != nil || len(l.full) > 0) {
		l.busy++
		go p.send(l)
	}
}

func (p *Publisher) send(l *partitionQueue) {
	for m := l.take(); m != nil; m = l.take() {
		m.err = p.store(l.subject, m.body)
		p.pending.Add(-int64(len(m.body)))
		close(m.done)
		m.release()
	}
}

// take returns the next batch to send. nil means that the sender must stop.
func (l *partitionQueue) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.full) > 0 {
		m := l.full[0]
		l.full = l.full[1:]
		return m
	}
	m := l.open
	l.open = nil
	if m == nil {
		l.busy--
	}
	return m
}

var batchHeader = nats.Header{events.ContentTypeHeader: {events.ContentTypeBatch}}

func (p *Publisher) store(subject string, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	_, err := p.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: batchHeader, Data: body})
	if err != nil {
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return nil
}

// bodies are reused: the connection has copied a body when its publish returns.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

func newBatch() *batch {
	return &batch{done: make(chan struct{}), body: (*bodies.Get().(*[]byte))[:0]}
}

func (m *batch) release() {
	b := m.body
	m.body = nil
	if cap(b) <= 2*events.MaxBatchBytes {
		bodies.Put(&b)
	}
}
