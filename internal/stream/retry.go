package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Retry repeats a read that times out, five times at most, each time with more
// patience. NATS may ask a replica that has just died, until the others notice;
// the next attempt may reach another one.
func Retry[T any](ctx context.Context, read func(context.Context) (T, error)) (v T, err error) {
	for _, seconds := range []time.Duration{1, 1, 2, 3, 5} {
		attempt, cancel := context.WithTimeout(ctx, seconds*time.Second)
		v, err = read(attempt)
		cancel()
		timedOut := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
		if ctx.Err() != nil || !timedOut {
			break
		}
	}
	return v, err
}

// lastOf returns the last message of a subject.
func lastOf(ctx context.Context, s jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	return Retry(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subject)
	})
}
