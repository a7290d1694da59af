package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

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
}

// openInputs opens the streams of the inputs and finds where to go on in each. Of a
// stream that has lost messages which were read, the log notes it, and what the stream
// has in their place is read.
func (r *run) openInputs(ctx context.Context) error {
	r.pos = make([]Position, len(r.Inputs))
	copy(r.pos, r.log.Positions())
	var losses []Loss
	for i, in := range r.Inputs {
		s, err := r.openStream(ctx, r.Names.Stream(in.Stream))
		if err != nil {
			return err
		}
		r.readers = append(r.readers, &reader{stream: s, filters: in.Filters})
		pos := &r.pos[i]
		cut, err := settled(ctx, r.JS, s, *pos)
		if err != nil {
			return fmt.Errorf("position in %s: %w", s.CachedInfo().Config.Name, err)
		}
		if cut < pos.Seq || r.log.returned {
			loss := Loss{Stream: in.Stream, Input: i, Number: pos.number(), Cut: cut, Lost: pos.Seq - cut, Found: r.Now().UTC(), Restored: r.log.returned}
			if r.log.returned {
				loss.Lost += restoredShift
			}
			losses = append(losses, loss)
			pos.Seq, pos.Shift = cut, pos.Shift+loss.Lost
			if at, err := storedAt(ctx, r.JS, s.CachedInfo().Config.Name, cut); err == nil {
				pos.At = at
			}
		}
	}
	if len(losses) == 0 {
		return nil
	}
	if err := r.log.Lose(ctx, losses, r.pos); err != nil {
		return err
	}
	if r.log.returned {
		r.Env.Log.Info("restored_from_a_backup", "role", r.Role, "partition", r.Partition, "epoch", r.log.Epoch())
	}
	for _, l := range losses {
		if l.Restored {
			l.Lost -= restoredShift
		}
		if l.Lost == 0 {
			continue
		}
		r.Env.Log.Warn("stream_lost_its_end", "role", r.Role, "partition", r.Partition, "stream", l.Stream, "lost", l.Lost, "after", l.Cut,
			"effect", "what was counted stays counted, and what the stream has now is read")
		r.ledger.role(r.Role).lostSequences(l)
	}
	r.losses = losses
	return nil
}

// openStream opens a stream, and makes it again if it is gone.
func (r *run) openStream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := r.JS.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && r.Ensure != nil {
		r.Env.Log.Warn("stream_is_gone_making_it_again", "stream", name)
		if err = r.Ensure(ctx); err == nil {
			s, err = r.JS.Stream(ctx, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	return s, nil
}

// startReader reads an input into the inbox, beginning after its position.
func (r *run) startReader(ctx context.Context, index int) error {
	rd, pos := r.readers[index], r.pos[index]
	name := rd.stream.CachedInfo().Config.Name
	f := &feed{js: r.JS, log: r.Env.Log, stream: name, filters: rd.filters, last: pos.Seq, at: pos.At,
		setBack: func(err error) {
			select {
			case r.gone <- err:
			default: // another input was first
			}
		},
		take: func(msg jetstream.Msg, at delivery) {
			r.inbox.put(Message{Input: index, Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(), Seq: at.seq + pos.Shift, Time: at.time})
		}}
	c, err := f.open(ctx, maxOpenTimeout)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.follow(reading, c)
	}()
	rd.stop = func() { stop(); <-done }
	state := rd.stream.CachedInfo().State
	r.owner.shifts = append(r.owner.shifts, pos.Shift)
	r.owner.Inputs = append(r.owner.Inputs, InputState{
		Position: pos.number(), First: state.FirstSeq + pos.Shift, Last: state.LastSeq + pos.Shift,
		Lost: slices.ContainsFunc(r.losses, func(l Loss) bool { return l.Input == index }),
	})
	return nil
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
