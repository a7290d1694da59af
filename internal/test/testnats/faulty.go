package testnats

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrCrashed is returned by a Faulty after it has failed.
var ErrCrashed = errors.New("crashed")

// Faulty is a JetStream that fails for good after a number of publishes, as when its
// process is killed between two steps. It is safe for concurrent use.
type Faulty struct {
	jetstream.JetStream
	Crash func() // called at each failure
	left  atomic.Int64
}

// NewFaulty returns a Faulty that fails after the given number of publishes.
func NewFaulty(js jetstream.JetStream, publishes int) *Faulty {
	f := &Faulty{JetStream: js, Crash: func() {}}
	f.left.Store(int64(publishes))
	return f
}

func (f *Faulty) spend() bool {
	if f.left.Add(-1) < 0 {
		f.Crash()
		return false
	}
	return true
}

// Publish implements jetstream.Publisher.
func (f *Faulty) Publish(ctx context.Context, subject string, data []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if !f.spend() {
		return nil, ErrCrashed
	}
	return f.JetStream.Publish(ctx, subject, data, opts...)
}

// PublishMsgAsync implements jetstream.Publisher.
func (f *Faulty) PublishMsgAsync(m *nats.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	if !f.spend() {
		return nil, ErrCrashed
	}
	return f.JetStream.PublishMsgAsync(m, opts...)
}
