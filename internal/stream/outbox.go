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

// outbox publishes without waiting and knows what is not yet acknowledged.
type outbox struct {
	ctx  context.Context
	js   jetstream.JetStream
	fail func(error) // called once a publish can never succeed

	sending sync.Mutex // held while a message of a subject with a newest one is sent

	mu      sync.Mutex
	wake    sync.Cond // on mu: queue or open changed
	queue   []*sent
	open    int               // published and not acknowledged
	acked   map[string]uint64 // by stream: newest sequence acknowledged
	newest  map[string]*sent  // of subjects where only the latest message matters
	fenced  int               // guarded ones not acknowledged
	serial  bool              // one guarded publish at a time: a replicated stream refuses a second
	stopped bool
}

type sent struct {
	msg    *nats.Msg
	opts   []jetstream.PublishOpt
	future jetstream.PubAckFuture
	fence  *Fence // of a message of which only the newest of its subject matters
}

func newOutbox(ctx context.Context, js jetstream.JetStream, fail func(error)) *outbox {
	o := &outbox{ctx: ctx, js: js, fail: fail, newest: map[string]*sent{}, acked: map[string]uint64{}}
	o.wake.L = &o.mu
	go o.watch()
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
	// The library would repeat a message by itself, behind newer ones.
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

// send hands s to the connection, unless it is overtaken. It waits while too
// many are in flight.
func (o *outbox) send(s *sent) (done bool, err error) {
	for {
		done, err := o.trySend(s)
		switch {
		case err == nil:
			return done, nil
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

// trySend looks and sends in one step: a newer message can't come in between.
func (o *outbox) trySend(s *sent) (done bool, err error) {
	if s.fence != nil {
		o.sending.Lock()
		defer o.sending.Unlock()
		if o.overtaken(s) {
			return true, nil
		}
	}
	// The library sets the reply subject of the message it is given.
	m := *s.msg
	s.future, err = o.js.PublishMsgAsync(&m, s.opts...)
	return false, err
}

// watch waits for the acknowledgements in the order of publishing, and repeats
// what was not acknowledged: it may have landed, and all outputs are idempotent.
func (o *outbox) watch() {
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
		settled, err := o.settle(s)
		switch {
		case err != nil:
			return
		case settled:
			o.done(s)
		default:
			// A stream that is full refuses for long: the others' are settled meanwhile.
			time.AfterFunc(retryWait, func() { o.again(s) })
		}
	}
}

// retryWait is how long after a refusal a message is sent again.
const retryWait = 100 * time.Millisecond

// again sends an unguarded message once more and puts it at the end of the queue.
func (o *outbox) again(s *sent) {
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

// settle waits until s is acknowledged, or overtaken; false means that it was
// refused and is not guarded, so that what comes after it need not wait.
func (o *outbox) settle(s *sent) (settled bool, err error) {
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
		if isFenced(err) && !o.holds(s.fence) {
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
		overtaken, err := o.send(s) // to repeat one that is overtaken would put an old value over a newer one
		if err != nil {
			o.fail(err)
			return false, err
		}
		if overtaken {
			return true, nil
		}
	}
}

// holds says whether the fence is still ours: a replicated stream refuses a
// publish also while an earlier one, whose answer was lost, is on its way.
func (o *outbox) holds(f *Fence) bool {
	if f == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(o.ctx, 5*time.Second)
	defer cancel()
	s, err := o.js.Stream(ctx, f.Stream)
	if err != nil {
		return true // not known: the repetition will tell
	}
	last, err := lastOf(ctx, s, f.Subject)
	return err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence == f.Seq
}

func (o *outbox) overtaken(s *sent) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.fence != nil && o.newest[s.msg.Subject] != s
}

// drain waits until everything published is acknowledged.
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
