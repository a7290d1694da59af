package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Input is a part of a stream that a processor reads.
type Input struct {
	Stream  string   // base name, such as events.StreamUsage
	Filters []string // subjects that do not overlap, with the namespace
}

// inbox buffers the messages of all inputs for the goroutine that processes them,
// which takes them in batches: sending each through a channel would cost more
// than folding it.
type inbox struct {
	mu      sync.Mutex
	notFull sync.Cond
	queue   []Message
	bytes   int
	ready   chan struct{} // has an element when queue is not empty
	closed  bool
}

// The budget of an inbox. When it is spent, reading pauses.
const (
	inboxMessages = 20_000
	inboxBytes    = 32 << 20
)

func newInbox() *inbox {
	b := &inbox{ready: make(chan struct{}, 1)}
	b.notFull.L = &b.mu
	return b
}

// put adds a message, and waits while the inbox is full.
func (b *inbox) put(m Message) {
	b.mu.Lock()
	for !b.closed && (len(b.queue) >= inboxMessages || b.bytes >= inboxBytes) {
		b.notFull.Wait()
	}
	b.queue = append(b.queue, m)
	b.bytes += len(m.Data)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns the buffered messages and continues with an empty slice, whose
// array it uses again.
func (b *inbox) take(empty []Message) []Message {
	b.mu.Lock()
	q := b.queue
	b.queue, b.bytes = empty[:0], 0
	b.mu.Unlock()
	b.notFull.Broadcast()
	return q
}

// close ends the waiting of put.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.notFull.Broadcast()
}

// reader reads one input.
type reader struct {
	stream  jetstream.Stream
	filters []string
	stop    func() // ends the reading and waits for its end

	replicated bool // the stream has more than one replica
}

// startReader reads an input into an inbox, beginning after position, which must
// belong to the stream.
func startReader(ctx context.Context, env Env, in Input, index int, pos *Position, to *inbox) (*reader, InputState, error) {
	name := env.Names.Stream(in.Stream)
	s, err := env.JS.Stream(ctx, name)
	if err != nil {
		return nil, InputState{}, fmt.Errorf("stream %s: %w", name, err)
	}
	info := s.CachedInfo()
	state := InputState{Position: pos.Seq, First: info.State.FirstSeq, Last: info.State.LastSeq}
	if pos.Created.IsZero() {
		pos.Created = info.Created
	}
	if !pos.Created.Equal(info.Created) {
		return nil, state, fmt.Errorf("%w: stream %s was made anew at %s, the committed position belongs to the one of %s",
			ErrInput, name, info.Created.Format(time.RFC3339), pos.Created.Format(time.RFC3339))
	}
	if pos.Seq > info.State.LastSeq {
		return nil, state, fmt.Errorf("%w: stream %s ends at %d, the committed position is %d: messages were lost or an old copy was restored",
			ErrInput, name, info.State.LastSeq, pos.Seq)
	}
	f := &feed{js: env.JS, log: env.Log, stream: name, filters: in.Filters, last: pos.Seq, take: func(msg jetstream.Msg, at delivery) {
		to.put(Message{Input: index, Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(), Seq: at.seq, Time: at.time})
	}}
	c, err := f.open(ctx, maxOpenTimeout)
	if err != nil {
		return nil, state, fmt.Errorf("reading %s: %w", name, err)
	}
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.follow(reading, c)
	}()
	return &reader{stream: s, filters: in.Filters, replicated: info.Config.Replicas > 1, stop: func() { cancel(); <-done }}, state, nil
}

// newest returns the sequence of the last message that is stored for the input,
// or 0 when there is none.
func (r *reader) newest(ctx context.Context) (uint64, error) {
	newest := uint64(0)
	for _, filter := range r.filters {
		raw, err := lastOf(ctx, r.stream, filter)
		switch {
		case err == nil:
			newest = max(newest, raw.Sequence)
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return 0, err
		}
	}
	return newest, nil
}
