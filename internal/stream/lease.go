package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultLeaseTTL is how long a lease lives after its last renewal.
const DefaultLeaseTTL = 2 * time.Second

// Lease is a key in a bucket that names its holder and expires with it. The
// holder of a partition's lease probably is its only owner. A goroutine renews
// the lease until Release, or until another process holds the key.
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

// Acquire waits until the key is free and takes it for the holder. No two
// processes may have the same holder's name.
func Acquire(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue, key, holder string, ttl time.Duration) (*Lease, error) {
	var seen observation
	for {
		rev, err := kv.Create(ctx, key, []byte(holder), jetstream.KeyTTL(ttl))
		if err == nil {
			renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
			l := &Lease{kv: kv, js: js, key: key, holder: holder, ttl: ttl, rev: rev,
				lost: make(chan struct{}), stop: stop, done: make(chan struct{})}
			go l.renew(renewing)
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if seen.deleteIfDead(ctx, kv, key, ttl) {
			continue
		}
		if err := waitFree(ctx, kv, key, ttl); err != nil {
			return nil, err
		}
	}
}

// observation is a revision of a key that expires unless its process renews it,
// and when this process saw that revision first.
type observation struct {
	rev uint64
	at  time.Time
}

// dead reports whether the key's process is gone: it has not renewed the key for
// twice its life.
func (o observation) dead(now time.Time, ttl time.Duration) bool { return now.Sub(o.at) > 2*ttl }

// deleteIfDead deletes a lease whose holder is gone, and reports whether it did.
// A server that restarts twice in short order can forget that a key is to
// expire, and nobody would own the partition ever again. A holder that is only
// slow loses its partition to the fence, as always.
func (o *observation) deleteIfDead(ctx context.Context, kv jetstream.KeyValue, key string, ttl time.Duration) bool {
	e, err := kv.Get(ctx, key)
	switch {
	case err != nil:
		return false
	case e.Revision() != o.rev:
		*o = observation{e.Revision(), time.Now()}
		return false
	case !o.dead(time.Now(), ttl):
		return false
	}
	return kv.Delete(ctx, key, jetstream.LastRevision(o.rev)) == nil
}

// waitFree returns when the key is deleted or has expired. It also returns after
// ttl, because a watch can stay silent for a while after its server restarted.
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

// Lost returns a channel that is closed when another process holds the key.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Release gives the key up, so that another process can take it at once.
func (l *Lease) Release(ctx context.Context) {
	l.stop()
	<-l.done
	select {
	case <-l.lost:
	default:
		_ = l.kv.Delete(ctx, l.key, jetstream.LastRevision(l.rev)) // otherwise it expires
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

// renewOnce returns false when another process holds the key. Without an answer
// from the server it returns true: this process cannot see another owner, and if
// there is one, the fence keeps the log safe.
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
	case err == nil && string(e.Value()) == l.holder: // an earlier renewal arrived, its answer was lost
		l.rev = e.Revision()
		return true
	case err == nil:
		return false
	case errors.Is(err, jetstream.ErrKeyNotFound): // the key expired while the server was away
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

// isFenced reports whether err is a server's refusal of an expected sequence.
func isFenced(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
