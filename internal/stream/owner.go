package stream

import (
	"context"
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

	out *outbox
	ctx context.Context
}

// Publish sends m to a stream without waiting. It is retried until it is
// acknowledged, and acknowledged before the next commit; a refusal by a fence
// (error 10071) stops the partition with ErrFenced.
func (o *Owner) Publish(m *nats.Msg, opts ...jetstream.PublishOpt) error {
	return o.out.publish(m, opts)
}
