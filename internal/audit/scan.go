package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/records"
)

// message is a stored message.
type message struct {
	seq  uint64
	at   time.Time
	data []byte
}

const fetchAtOnce = 500

// scan calls f with the messages of a subject in order, from where start says, until f
// returns false or at the last message that was stored when the scan began.
func (l *Log) scan(ctx context.Context, subject string, start jetstream.ConsumerConfig, f func(message) bool) error {
	start.FilterSubject, start.AckPolicy = subject, jetstream.AckNonePolicy
	start.MemoryStorage, start.Replicas, start.InactiveThreshold = true, 1, 10*time.Second
	cons, err := l.js.CreateConsumer(ctx, l.stream(), start)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRead, err)
	}
	// It would also go away by itself.
	defer func() { _ = l.js.DeleteConsumer(context.WithoutCancel(ctx), l.stream(), cons.CachedInfo().Name) }()
	for left := cons.CachedInfo().NumPending; left > 0; {
		n, more, err := fetch(cons, int(min(left, fetchAtOnce)), f)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotRead, err)
		}
		if !more {
			return nil
		}
		left -= min(left, uint64(n))
		if n == 0 {
			info, err := cons.Info(ctx)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrNotRead, err)
			}
			if info.NumPending > 0 {
				return fmt.Errorf("%w: %d entries were not delivered", ErrNotRead, info.NumPending)
			}
			return nil // the rest has been purged, or has expired
		}
	}
	return nil
}

// fetch reads up to n messages. more is false once f has returned false.
func fetch(cons jetstream.Consumer, n int, f func(message) bool) (got int, more bool, err error) {
	batch, err := cons.FetchNoWait(n)
	if err != nil {
		return 0, false, err
	}
	more = true
	for msg := range batch.Messages() {
		got++
		if !more {
			continue // the channel must be emptied
		}
		md, err := msg.Metadata()
		if err != nil {
			return got, false, err
		}
		if records.RefuseAnswer(msg.Headers(), 0) != nil {
			continue // no entry: nobody who may write one has sent it
		}
		more = f(message{seq: md.Sequence.Stream, at: md.Timestamp.UTC(), data: msg.Data()})
	}
	return got, more, batch.Error()
}
