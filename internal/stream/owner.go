package stream

import (
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// Owner is what a Processor may do with the partition that it owns.
type Owner struct {
	Names     events.Names
	Partition int
	Epoch     uint64 // grows with every owner of the partition
	JS        jetstream.JetStream
	Log       *slog.Logger
	Inputs    []InputState // as the partition was taken over, by input

	out *outbox
}

// InputState is where reading an input begins.
type InputState struct {
	Position uint64 // committed: reading begins after it
	First    uint64 // first sequence that the stream still has
}

// Gap says whether the stream has dropped messages that were never processed.
func (s InputState) Gap() bool { return s.First > s.Position+1 }

// Publish sends m to a stream without waiting. It is retried until it is
// acknowledged, and acknowledged before the next commit; a refusal by a fence
// (error 10071) stops the partition with ErrFenced.
func (o *Owner) Publish(m *nats.Msg, opts ...jetstream.PublishOpt) error {
	return o.out.publish(m, opts, false)
}

// Acked is the sequence of the newest message in a stream that Publish has had
// acknowledged; 0 when there was none. Before a Commit that is of everything
// published.
func (o *Owner) Acked(stream string) uint64 {
	o.out.mu.Lock()
	defer o.out.mu.Unlock()
	return o.out.acked[stream]
}

// PublishLatest is Publish to a subject where only the newest message counts:
// one that has to be repeated gives way to a newer one.
func (o *Owner) PublishLatest(m *nats.Msg, opts ...jetstream.PublishOpt) error {
	return o.out.publish(m, opts, true)
}
