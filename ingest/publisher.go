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

// ErrUnavailable is returned while a stream does not take what is published.
// Some of it may have been stored: publish it again with the same ids.
var ErrUnavailable = errors.New("the stream cannot take it now")

// Bounds of a Publisher.
const (
	publishTimeout = 5 * time.Second // for one message's acknowledgement
	lanesInFlight  = 2               // messages of one partition at a time
	maxPending     = 128 << 20       // bytes that wait for acknowledgements, of all partitions
)

// Publisher packs events by partition and publishes them to USAGE. Events of
// concurrent calls that meet in a partition share a message, so a busy server
// publishes few large ones while an idle one never waits for company. It is
// safe for concurrent use and needs no closing.
type Publisher struct {
	js      jetstream.JetStream
	names   events.Names
	lanes   map[string][]lane // by last token of the subject, then by partition
	pending atomic.Int64
}

// lane is what goes to one subject, in order of arrival.
type lane struct {
	mu      sync.Mutex
	subject string
	full    []*packed // sealed, oldest first
	open    *packed   // takes further events; nil or not empty
	busy    int       // goroutines that send
}

// packed is a message in the making, and its outcome.
type packed struct {
	body []byte
	done chan struct{} // closed when err is set
	err  error
}

// NewPublisher returns a Publisher for streams of that many partitions.
func NewPublisher(js jetstream.JetStream, names events.Names, partitions int) *Publisher {
	p := &Publisher{js: js, names: names, lanes: map[string][]lane{}}
	for _, token := range []string{events.BatchToken, events.ImportToken} {
		lanes := make([]lane, partitions)
		for i := range lanes {
			lanes[i].subject = names.Usage(i, token)
		}
		p.lanes[token] = lanes
	}
	return p
}

// Publish stores events, which must be valid and have ids, and returns after
// all were acknowledged. token is events.BatchToken for usage, or
// events.ImportToken for history. The end of ctx ends the waiting, not the
// publishing. It keeps nothing of list.
func (p *Publisher) Publish(ctx context.Context, list []events.Event, token string) error {
	lanes, ok := p.lanes[token]
	if !ok {
		return fmt.Errorf("usage cannot be published to %q", token)
	}
	if n := p.pending.Load(); n > maxPending {
		return fmt.Errorf("%w: %d bytes wait for acknowledgements", ErrUnavailable, n)
	}
	joined := make([]*packed, 0, 8)
	touched := make([]bool, len(lanes))
	last := make([]*packed, len(lanes))
	for i := range list {
		n := events.PartitionOf(list[i].Subject, len(lanes))
		touched[n] = true
		m, size := lanes[n].add(&list[i])
		p.pending.Add(int64(size))
		if m != last[n] {
			last[n] = m
			joined = append(joined, m)
		}
	}
	for n := range lanes {
		if touched[n] {
			p.kick(&lanes[n])
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

// add packs an event and says into which message, and its size there.
func (l *lane) add(e *events.Event) (*packed, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = newPacked()
	}
	m := l.open
	before := len(m.body)
	m.body = events.AppendBatch(m.body, e)
	size := len(m.body) - before
	if len(m.body) > events.MaxBatchBytes && before > 0 {
		l.open = newPacked()
		l.open.body = append(l.open.body, m.body[before:]...)
		m.body = m.body[:before]
		l.full = append(l.full, m)
		m = l.open
	}
	return m, size
}

// kick sees to it that someone sends what waits in the lane.
func (p *Publisher) kick(l *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy < lanesInFlight && (l.open != nil || len(l.full) > 0) {
		l.busy++
		go p.send(l)
	}
}

func (p *Publisher) send(l *lane) {
	for m := l.take(); m != nil; m = l.take() {
		m.err = p.store(l.subject, m.body)
		p.pending.Add(-int64(len(m.body)))
		close(m.done)
		m.release()
	}
}

// take returns the next message to send; with none, the caller has stopped.
func (l *lane) take() *packed {
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

func newPacked() *packed {
	return &packed{done: make(chan struct{}), body: (*bodies.Get().(*[]byte))[:0]}
}

func (m *packed) release() {
	b := m.body
	m.body = nil
	if cap(b) <= 2*events.MaxBatchBytes {
		bodies.Put(&b)
	}
}
