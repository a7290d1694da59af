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

	inputs  []Input
	letters letters
	out     *outbox
	answers map[string]answerer // by kind of question; complete once Start has returned
}

// InputState is where reading an input begins.
type InputState struct {
	Position uint64 // committed: reading begins after it
	First    uint64 // first sequence that the stream still has
	Last     uint64 // last sequence that the stream had
}

// Gap says whether the stream has dropped messages that were never processed.
func (s InputState) Gap() bool { return s.First > s.Position+1 }

// Publish sends m to a stream without waiting. It is retried until it is
// acknowledged, and acknowledged before the next commit; a refusal by a fence
// (error 10071) stops the partition with ErrFenced.
func (o *Owner) Publish(m *nats.Msg, opts ...jetstream.PublishOpt) error {
	return o.out.publish(m, opts)
}

// Acked is the sequence of the newest message in a stream that Publish has had
// acknowledged; 0 when there was none. Before a Commit that is of everything
// published.
func (o *Owner) Acked(stream string) uint64 {
	o.out.mu.Lock()
	defer o.out.mu.Unlock()
	return o.out.acked[stream]
}

// Fence guards publishes to a stream by the last sequence of one subject in it:
// whoever writes that subject next fences those who do not know of it.
type Fence struct {
	Stream  string // name
	Subject string
	Seq     uint64
}

// PublishFenced is Publish to a subject where only the newest message counts,
// guarded by a fence. One that has to be repeated gives way to a newer one.
func (o *Owner) PublishFenced(m *nats.Msg, f Fence) error {
	return o.out.publishFenced(m, f)
}
