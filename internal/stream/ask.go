package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Ask repeats a read that nobody answers. Any replica may be asked, and one that
// has gone silent is asked until the others notice; the next try may find
// another.
func Ask[T any](ctx context.Context, read func(context.Context) (T, error)) (v T, err error) {
	for _, timeout := range []time.Duration{1, 1, 2, 3, 5} {
		try, cancel := context.WithTimeout(ctx, timeout*time.Second)
		v, err = read(try)
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
			break
		}
	}
	return v, err
}

func lastOf(ctx context.Context, s jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	return Ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subject)
	})
}
