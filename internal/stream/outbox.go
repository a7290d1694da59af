package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// retryWait is how long after a refusal the outbox sends a message again.
const retryWait = 100 * time.Millisecond

// outbox publishes without waiting and knows which messages are not acknowledged
// yet. It repeats them until they are; a message may arrive twice, because all
// outputs are idempotent.
type outbox struct {
	ctx  context.Context
	js   jetstream.JetStream
	fail func(error)                   // called when a message can never be published
	lost func(place string, err error) // called with a letter that its stream refuses for good

	sending sync.Mutex // held while a fenced message is sent

	mu      sync.Mutex
	wake    sync.Cond         // on mu: queue or open changed
	queue   []*sent           // whose acknowledgements run waits for next
	open    int               // published and not acknowledged
	acked   map[string]uint64 // newest acknowledged sequence, by stream
	newest  map[string]*sent  // newest fenced message, by subject
	fenced  int               // fenced messages that are not acknowledged
	serial  bool              // one fenced message at a time: a replicated stream refuses a second
	stopped bool
}

type sent struct {
	msg    *nats.Msg
	opts   []jetstream.PublishOpt
	future jetstream.PubAckFuture
	fence  *Fence // nil: not fenced
	letter string // what a dead letter is about; "": it is none
}

func newOutbox(ctx context.Context, js jetstream.JetStream, fail func(error)) *outbox {
	o := &outbox{ctx: ctx, js: js, fail: fail, newest: map[string]*sent{}, acked: map[string]uint64{}}
	o.wake.L = &o.mu
	go o.run()
	context.AfterFunc(ctx, func() {
		o.mu.Lock()
		o.stopped = true
		o.mu.Unlock()
		o.wake.Broadcast()
	})
	return o
}

func (o *outbox) publish(m *nats.Msg, opts []jetstream.PublishOpt) error {
	return o.enqueue(&sent{msg: m, opts: opts})
}

// publishLetter publishes a dead letter. It is given up when DEAD is full or missing,
// because the partition would wait for ever; the message itself is still in its
// stream.
func (o *outbox) publishLetter(m *nats.Msg, place, id string) error {
	return o.enqueue(&sent{msg: m, letter: place, opts: []jetstream.PublishOpt{jetstream.WithMsgID(id)}})
}

func (o *outbox) publishFenced(m *nats.Msg, f Fence) error {
	s := &sent{msg: m, fence: &f, opts: []jetstream.PublishOpt{jetstream.WithExpectLastSequenceForSubject(f.Seq, f.Subject)}}
	o.mu.Lock()
	for o.serial && o.fenced > 0 && !o.stopped {
		o.wake.Wait()
	}
	o.fenced++
	o.newest[m.Subject] = s
	o.mu.Unlock()
	return o.enqueue(s)
}

func (o *outbox) enqueue(s *sent) error {
	// The library must not repeat a message: it would put it behind newer ones.
	s.opts = append(s.opts[:len(s.opts):len(s.opts)], jetstream.WithRetryAttempts(0))
	if _, err := o.send(s); err != nil {
		return err
	}
	o.mu.Lock()
	o.queue = append(o.queue, s)
	o.open++
	o.mu.Unlock()
	o.wake.Broadcast()
	return nil
}

// send hands s to the connection, and waits while too many messages are on their
// way. It returns true, and sends nothing, when a newer message replaces s.
func (o *outbox) send(s *sent) (replaced bool, err error) {
	for {
		replaced, err := o.sendOnce(s)
		switch {
		case err == nil:
			return replaced, nil
		case errors.Is(err, nats.ErrMaxPayload):
			return false, fmt.Errorf("publishing %d bytes to %s: %w", len(s.msg.Data), s.msg.Subject, err)
		}
		select {
		case <-o.ctx.Done():
			return false, fmt.Errorf("publishing to %s: %w", s.msg.Subject, o.ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sendOnce holds a lock from the look at the newest message to the send, so that
// no newer message comes in between.
func (o *outbox) sendOnce(s *sent) (replaced bool, err error) {
	if s.fence != nil {
		o.sending.Lock()
		defer o.sending.Unlock()
		if o.replaced(s) {
			return true, nil
		}
	}
	// The library sets the reply subject of the message it is given.
	m := *s.msg
	s.future, err = o.js.PublishMsgAsync(&m, s.opts...)
	return false, err
}

// run waits for the acknowledgements in the order of publishing, until the
// ownership ends or a message can never be published.
func (o *outbox) run() {
	for {
		o.mu.Lock()
		for len(o.queue) == 0 && !o.stopped {
			o.wake.Wait()
		}
		if o.stopped {
			o.mu.Unlock()
			return
		}
		s := o.queue[0]
		o.queue[0] = nil
		o.queue = o.queue[1:]
		o.mu.Unlock()
		done, err := o.await(s)
		switch {
		case err != nil:
			return
		case done:
			o.done(s)
		default:
			// A full stream refuses for long; run goes on with the messages of the others.
			time.AfterFunc(retryWait, func() { o.resend(s) })
		}
	}
}

// resend sends an unfenced message once more and puts it at the end of the queue.
func (o *outbox) resend(s *sent) {
	if o.ctx.Err() != nil {
		return
	}
	if _, err := o.send(s); err != nil {
		o.fail(err)
		return
	}
	o.mu.Lock()
	o.queue = append(o.queue, s)
	o.mu.Unlock()
	o.wake.Broadcast()
}

func (o *outbox) done(s *sent) {
	o.mu.Lock()
	o.open--
	if s.fence != nil {
		o.fenced--
	}
	if o.newest[s.msg.Subject] == s {
		delete(o.newest, s.msg.Subject)
	}
	o.mu.Unlock()
	o.wake.Broadcast()
}

// await waits for the acknowledgement of s and returns true when it came, or when
// a newer message replaces s. It returns false when an unfenced message was
// refused; messages behind it need not wait for it. A fenced message is repeated
// here, because those behind it carry the same fence.
func (o *outbox) await(s *sent) (done bool, err error) {
	for {
		select {
		case <-o.ctx.Done():
			return false, o.ctx.Err()
		case ack := <-s.future.Ok():
			o.mu.Lock()
			o.acked[ack.Stream] = max(o.acked[ack.Stream], ack.Sequence)
			o.mu.Unlock()
			return true, nil
		case err = <-s.future.Err():
		}
		if s.letter != "" && o.refused(s, err) {
			o.lost(s.letter, err)
			return true, nil
		}
		if isFenced(err) && !o.ownsFence(s.fence) {
			err := fmt.Errorf("%w: a guarded publish to %s was refused", ErrFenced, s.msg.Subject)
			o.fail(err)
			return false, err
		}
		if s.fence == nil {
			return false, nil
		}
		select {
		case <-o.ctx.Done():
			return false, o.ctx.Err()
		case <-time.After(retryWait):
		}
		replaced, err := o.send(s)
		if err != nil {
			o.fail(err)
			return false, err
		}
		if replaced {
			return true, nil
		}
	}
}

// The codes of errors with which a server says that a stream has no space.
const (
	codeInsufficientResources = 10023
	codeStorageExceeded       = 10047
	codeMessageTooLarge       = 10054
	codeStoreFailed           = 10077 // also: the stream is full
)

// refused reports whether the stream of a message will not take it until somebody
// changes the stream.
func (o *outbox) refused(s *sent, err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeInsufficientResources, codeStorageExceeded, codeMessageTooLarge, codeStoreFailed:
			return true
		}
		return false
	}
	if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
		return false
	}
	// A stream that is electing a leader does not answer either.
	ctx, cancel := context.WithTimeout(o.ctx, 5*time.Second)
	defer cancel()
	_, err = o.js.StreamNameBySubject(ctx, s.msg.Subject)
	return errors.Is(err, jetstream.ErrStreamNotFound)
}

// ownsFence reports whether the fence is still this owner's, or may be: a
// replicated stream also refuses a message while an earlier one, whose answer was
// lost, is on its way.
func (o *outbox) ownsFence(f *Fence) bool {
	if f == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(o.ctx, 5*time.Second)
	defer cancel()
	s, err := o.js.Stream(ctx, f.Stream)
	if err != nil {
		return true // not known; the next refusal asks again
	}
	last, err := lastOf(ctx, s, f.Subject)
	return err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence == f.Seq
}

// replaced reports whether a newer message has come to the subject of s.
func (o *outbox) replaced(s *sent) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.fence != nil && o.newest[s.msg.Subject] != s
}

// drain waits until everything that was published is acknowledged.
func (o *outbox) drain() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.open > 0 && !o.stopped {
		o.wake.Wait()
	}
	if o.open > 0 {
		return context.Cause(o.ctx)
	}
	return nil
}
