package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// Message is one stored message of an input.
type Message struct {
	Input   int // index in Spec.Inputs
	Subject string
	Header  nats.Header
	Data    []byte
	// Seq is the sequence in its stream, and grows also when the stream goes on below
	// sequences that were read: see Position.
	Seq  uint64
	Time time.Time // when it was stored, UTC
	// Dead are the parts that no owner can handle, by index, with the reasons. Only
	// a Parter gets messages that have some: it rejects these parts and handles the
	// others.
	Dead map[int]string
}

// Processor is the work of a role on one partition. Run calls its methods from
// one goroutine: first Restore and Apply, then Start, then the others.
//
// The state must be a function of the handled messages (and, for roles that act
// in time, of the times given to Tick): after a crash another owner repeats
// everything since the last commit.
//
// A method that panics may have changed half of the state. So Run gives the whole
// state up, notes in the log which message was to blame, and the next owner begins
// at the last commit and leaves that message out: see failure.
type Processor interface {
	// Restore replaces the state by a snapshot; nil is the state of a new
	// partition.
	Restore(snapshot []byte) error
	// Apply adds a commit that was made after the snapshot.
	Apply(commit []byte) error
	// Start is called once, when the process owns the partition. Everything that
	// the Processor publishes through o is acknowledged before the next commit
	// counts. Start registers the answers to questions: see Answer. The
	// ownership ends with ctx.
	Start(ctx context.Context, o *Owner) error
	// Handle processes one message. It must not wait for anything but o. An error of
	// Reject makes the message a dead letter; the state must be as it was before. An
	// error of Outage stops the partition until it is repaired. After any other error,
	// as after a panic, the message is a dead letter and the state is loaded again.
	Handle(m *Message) error
	// Flush publishes the results of the messages since the last Flush. Run calls
	// it right after each batch of Handle calls and after each Tick.
	Flush() error
	// Tick does what is due at now and returns when to call it again, or zero for
	// never. Run also calls it after each batch of Handle calls.
	Tick(now time.Time) (next time.Time, err error)
	// Commit returns the changes since the last Commit, for Apply; nil when only
	// positions have changed.
	Commit() ([]byte, error)
	// Snapshot returns the whole state, for Restore.
	Snapshot() ([]byte, error)
}

// PrefetchMax is the largest number of messages that Prefetch is given. The data
// of more messages would not stay in the processor's cache until Handle.
const PrefetchMax = 32

// Prefetcher is a Processor that loads the data of several messages at once,
// because waiting for memory message by message takes longer. Run calls Prefetch
// with the next messages and then Handle with each of them, except for those
// that the partition has already handled. Prefetch must not change the state, and
// Handle must not need it: if Prefetch panics, Run calls Handle all the same, which
// finds the message that is to blame.
type Prefetcher interface {
	Prefetch(ms []Message)
}

// Parter is a Processor of messages that hold many parts, such as a batch of
// events of many customers. When Handle panics, only the part is given up.
type Parter interface {
	// Part returns the index of the part that Handle is processing, or -1 when it
	// processes the message as a whole.
	Part() int
}

// The errors that end an ownership.
var (
	// ErrFenced is returned when a newer owner has taken the partition.
	ErrFenced = errors.New("partition was taken by a newer owner")
	// ErrLost is returned when another process holds the lease.
	ErrLost = errors.New("lease was lost")
)
