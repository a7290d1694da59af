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
	Seq     uint64    // in its stream
	Time    time.Time // when it was stored, UTC
}

// Processor is what a role does with one partition. Run calls its methods from
// one goroutine, first Restore and Apply, then Start, then the others. Its
// state must be a function of the messages handled (and, for roles that act in
// time, of the moments of its ticks), for another owner may have to repeat
// everything after the last commit.
type Processor interface {
	// Restore replaces the state by a snapshot; nil means the beginning.
	Restore(snapshot []byte) error
	// Apply adds a commit that was made after the snapshot.
	Apply(commit []byte) error
	// Start is called once the partition is owned. What the processor
	// publishes through o is acknowledged before the next commit counts. Here
	// the processor says which questions it answers: see Answer.
	Start(ctx context.Context, o *Owner) error
	// Handle processes one message. It must not block on anything but o. An
	// error of Reject makes the message a dead letter; any other stops the
	// partition.
	Handle(m *Message) error
	// Flush publishes what the messages since the last Flush gave rise to. It
	// follows every run of Handle and every Tick without delay.
	Flush() error
	// Tick does what is due at now, and says when it wants to be called next
	// (zero: not at all). It is also called after every Flush.
	Tick(now time.Time) (next time.Time, err error)
	// Commit returns what Apply needs to repeat the changes since the last
	// Commit; nil when nothing changed but positions.
	Commit() ([]byte, error)
	// Snapshot returns the whole state for Restore.
	Snapshot() ([]byte, error)
}

// Ahead is how many messages an Expecter is told of at most. More would push
// each other out of the processor's cache.
const Ahead = 32

// Expecter is a Processor that wants to know which messages it is given next,
// to fetch what they need together. Handle is called for each of them, but for
// some that have been handled already.
type Expecter interface {
	Expect(ms []Message)
}

// Errors of ownership.
var (
	// ErrFenced is returned when a newer owner has taken the partition.
	ErrFenced = errors.New("partition was taken by a newer owner")
	// ErrLost is returned when the lease has expired or been taken.
	ErrLost = errors.New("lease was lost")
	// ErrInput is returned when an input is not the stream that the committed
	// positions belong to.
	ErrInput = errors.New("input does not fit the committed position")
)
