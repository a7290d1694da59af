package stream

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// Owner is one ownership of a partition, as its Processor sees it.
type Owner struct {
	Names     events.Names
	Partition int
	Epoch     uint64    // grows with every owner of the partition
	Restored  bool      // the first since a restore: the store may have documents that are newer, or none
	Recovered time.Time // zero, or up to when what is read causes no mail: the log was lost, and begun anew
	JS        jetstream.JetStream
	Log       *slog.Logger
	Inputs    []InputState // at the takeover, in the order of Spec.Inputs

	inputs    []Input
	shifts    []uint64 // by input: Message.Seq less the sequence in the stream
	letters   letters
	role      *roleLedger
	documents known // that were rejected
	out       *outbox
	answers   map[string]answerer // by kind of question; complete once Start has returned
}

// InputState describes an input at the moment when its partition was taken over, in
// numbers like Message.Seq.
type InputState struct {
	Position uint64 // committed: reading begins after it
	First    uint64 // of the first message in the stream
	Last     uint64 // of the last message in the stream
	Lost     bool   // the stream has lost messages, of which an owner had handled some
}

// Gap reports whether the stream may have lost messages before an owner handled them.
func (s InputState) Gap() bool { return s.Lost || s.First > s.Position+1 }

// Newest returns the number, as Message.Seq, of the last message that is stored for an
// input, or a smaller one when there is none.
func (o *Owner) Newest(ctx context.Context, input int) (uint64, error) {
	seq, err := Newest(ctx, o.JS, o.Names, o.inputs[input])
	return seq + o.shifts[input], err
}

// Forgot says that the fingerprints of n events are lost, which were stored between from
// and to.
func (o *Owner) Forgot(n int, from, to time.Time) {
	o.Log.Warn("fingerprints_lost", "events", n, "from", from, "to", to, "effect", "repetitions of those events count again")
	o.role.forgot(n, from, to)
}

// Publish sends m to a stream without waiting for the acknowledgement. The
// outbox repeats m until a server acknowledges it; the next commit waits for
// that. When a server refuses m by its expected sequence (error 10071), the
// partition stops with ErrFenced.
func (o *Owner) Publish(m *nats.Msg, opts ...jetstream.PublishOpt) error {
	return o.out.publish(m, opts)
}

// Acked returns the sequence of the newest message in a stream that Publish has
// had acknowledged, or 0 when there is none. While the Processor's Commit runs,
// everything published before is acknowledged.
func (o *Owner) Acked(stream string) uint64 {
	o.out.mu.Lock()
	defer o.out.mu.Unlock()
	return o.out.acked[stream]
}

// Fence guards publishes to a stream by the sequence of the last message of one
// of its subjects: whoever writes that subject next locks out every writer that
// does not know the new sequence.
type Fence struct {
	Stream  string // full name
	Subject string
	Seq     uint64
}

// PublishFenced is Publish with a fence, to a subject of which only the newest
// message matters: an older message is not repeated once there is a newer one.
func (o *Owner) PublishFenced(m *nats.Msg, f Fence) error {
	return o.out.publishFenced(m, f)
}
