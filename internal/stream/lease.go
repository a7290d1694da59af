package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultLeaseTTL is how long a lease outlives its last renewal.
const DefaultLeaseTTL = 2 * time.Second

// Lease says that this process probably is the one owner of a key. It is
// renewed in the background until Release, or until another holds the key.
type Lease struct {
	kv     jetstream.KeyValue
	js     jetstream.JetStream
	key    string
	holder string
	ttl    time.Duration
	rev    uint64
	lost   chan struct{}
	stop   context.CancelFunc
	done   chan struct{}
}

// Acquire waits until key is free and takes it for holder, a name that no
// other process has.
func Acquire(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue, key, holder string, ttl time.Duration) (*Lease, error) {
	var found held
	for {
		rev, err := kv.Create(ctx, key, []byte(holder), jetstream.KeyTTL(ttl))
		if err == nil {
			run, stop := context.WithCancel(context.WithoutCancel(ctx))
			l := &Lease{kv: kv, js: js, key: key, holder: holder, ttl: ttl, rev: rev,
				lost: make(chan struct{}), stop: stop, done: make(chan struct{})}
			go l.renew(run)
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if found.outlived(ctx, kv, key, ttl) {
			continue
		}
		if err := waitFree(ctx, kv, key, ttl); err != nil {
			return nil, err
		}
	}
}

// held is a lease of another as it was last seen.
type held struct {
	rev   uint64
	since time.Time // that it has been seen so
}

// outlived removes a lease that was not renewed for twice its life: a server
// that is restarted twice in short order can forget that a key was to expire,
// and nobody would ever own the partition. A holder that is only slow is
// fenced as always.
func (h *held) outlived(ctx context.Context, kv jetstream.KeyValue, key string, ttl time.Duration) bool {
	e, err := kv.Get(ctx, key)
	switch {
	case err != nil:
		return false
	case e.Revision() != h.rev:
		*h = held{e.Revision(), time.Now()}
		return false
	case time.Since(h.since) < 2*ttl:
		return false
	}
	return kv.Delete(ctx, key, jetstream.LastRevision(h.rev)) == nil
}

// waitFree returns when the key was deleted or expired, and after ttl anyway:
// a watch can stay blind for a while after its server was restarted.
func waitFree(ctx context.Context, kv jetstream.KeyValue, key string, ttl time.Duration) error {
	wctx, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	w, err := kv.Watch(wctx, key)
	if err == nil {
		defer func() { _ = w.Stop() }()
		for {
			select {
			case e, ok := <-w.Updates():
				if !ok || e != nil && e.Operation() != jetstream.KeyValuePut {
					return ctx.Err()
				}
				continue
			case <-wctx.Done():
			}
			return ctx.Err()
		}
	}
	<-wctx.Done()
	return ctx.Err()
}

// Lost is closed when another process holds the key.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Release gives the key up, so that another can take it at once.
func (l *Lease) Release(ctx context.Context) {
	l.stop()
	<-l.done
	select {
	case <-l.lost:
	default:
		_ = l.kv.Delete(ctx, l.key, jetstream.LastRevision(l.rev)) // else it expires
	}
}

func (l *Lease) renew(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(l.ttl / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !l.renewOnce(ctx) {
			close(l.lost)
			return
		}
	}
}

// renewOnce is false when another holds the key. Without an answer from the
// server the lease is kept: nobody else can be seen to own the partition, and
// if somebody does, the fence holds.
func (l *Lease) renewOnce(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	rev, err := l.put(ctx, l.rev)
	if err == nil {
		l.rev = rev
		return true
	}
	if !isFenced(err) {
		return true
	}
	e, err := l.kv.Get(ctx, l.key)
	switch {
	case err == nil && string(e.Value()) == l.holder: // landed, its answer was lost
		l.rev = e.Revision()
		return true
	case err == nil:
		return false
	case errors.Is(err, jetstream.ErrKeyNotFound): // expired while we were away
		if rev, err := l.kv.Create(ctx, l.key, []byte(l.holder), jetstream.KeyTTL(l.ttl)); err == nil {
			l.rev = rev
		}
	}
	return true
}

func (l *Lease) put(ctx context.Context, rev uint64) (uint64, error) {
	ack, err := l.js.Publish(ctx, fmt.Sprintf("$KV.%s.%s", l.kv.Bucket(), l.key), []byte(l.holder),
		jetstream.WithMsgTTL(l.ttl), jetstream.WithExpectLastSequencePerSubject(rev))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// isFenced says whether err is the server's refusal of an expected sequence.
func isFenced(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
