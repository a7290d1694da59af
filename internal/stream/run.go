package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/guard"
)

// Spec names a partition of a role and its inputs.
type Spec struct {
	Role      string
	Partition int
	Inputs    []Input
}

// Env is the environment that all partitions of a process share.
type Env struct {
	NC     *nats.Conn
	JS     jetstream.JetStream
	Names  events.Names
	Holder string // names this process in leases; no other process has the same name
	Log    *slog.Logger
	Now    func() time.Time
	// CommitEvery is the shortest time between two commits; 0: one second.
	CommitEvery time.Duration
	// SnapshotAfter is how many bytes of commits make a snapshot worth while, at
	// least; 0: 1 MiB.
	SnapshotAfter int
	// Observe, when set, is called at each takeover with a function that returns
	// the partition's progress. That function is safe for concurrent use.
	Observe func(Spec, func(context.Context) Progress)
	// LeaseTTL is how long a lease lives after its last renewal; 0:
	// DefaultLeaseTTL.
	LeaseTTL time.Duration

	// Ensure, when set, makes the streams that are missing.
	Ensure func(context.Context) error

	ledger *ledger // of the process; nil: Run makes one

	// stopTimeout bounds a clean stop; 0: four seconds. Half of it is for a
	// Processor that waits for something.
	stopTimeout time.Duration
}

// run is one ownership of a partition. Its loop calls the Processor; see loop.go.
type run struct {
	Env
	Spec
	proc    Processor
	log     *Log
	owner   *Owner
	out     *outbox
	inbox   *inbox
	readers []*reader
	gone    chan error      // has an element when an input is not what was read
	handled []atomic.Uint64 // sequence of the last handled message, by input
	onReady func()
	ending  atomic.Bool // the last commit is being made

	// Only the loop uses these:
	pos        []Position
	losses     []Loss    // found at the takeover
	spare      []Message // an empty batch, whose array is used again
	unsaved    bool      // positions or state have changed since the last commit
	unsettled  bool      // messages were handled since the last commit
	suspect    *DeadPart // to blame if a call fails; nil: nothing is
	dead       DeadParts // of coming messages
	snapshotAt time.Time // the next snapshot comes later
	commitAt   <-chan time.Time
	tickAt     *time.Timer
	snapping   bool
	snapshot   chan snapshotDone
	waiting    []asked // questions whose positions are not reached

	questions chan asked
	asking    *nats.Subscription // to the questions
}

// Run owns the partition until ctx is done, the lease is lost, or something fails
// for good. When ctx is done, it commits and returns nil. The channel lost is the
// lease's. Run calls onReady when the Processor has started.
func Run(ctx context.Context, env Env, spec Spec, proc Processor, lost <-chan struct{}, onReady func()) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	r := &run{
		Env: env, Spec: spec, proc: proc, inbox: newInbox(), onReady: onReady,
		gone: make(chan error, 1), questions: make(chan asked, 64), snapshot: make(chan snapshotDone, 1), tickAt: time.NewTimer(time.Hour),
	}
	r.tickAt.Stop()
	if r.ledger == nil {
		r.ledger = newLedger()
	}
	defer func() {
		cancel(nil)
		r.turnAllAway()
	}()
	go func() {
		select {
		case <-lost:
			cancel(ErrLost)
		case <-work.Done():
		}
	}()
	defer r.stopReading()
	opening := context.AfterFunc(ctx, func() { cancel(context.Canceled) })
	err := guard.Do(func() error { return r.open(ctx, work, cancel) })
	if guard.As(err) != nil && !errors.As(err, new(*failure)) {
		r.ledger.role(r.Role).fail(err)
	}
	if !opening() {
		return nil // stopped while it was loading: there is nothing to commit
	}
	if err != nil {
		return cause(work, r.settle(work, err))
	}
	defer context.AfterFunc(ctx, func() { r.boundStop(cancel) })()
	return cause(work, r.settle(work, r.loop(ctx, work)))
}

// boundStop ends the work some seconds after a stop was asked for, so that it
// does not hang on a server, and earlier while the Processor waits for something.
func (r *run) boundStop(cancel context.CancelCauseFunc) {
	timeout := r.stopTimeout
	if timeout == 0 {
		timeout = 4 * time.Second
	}
	time.AfterFunc(timeout/2, func() {
		if !r.ending.Load() {
			cancel(context.Canceled)
		}
	})
	time.AfterFunc(timeout, func() { cancel(context.Canceled) })
}

// cause returns the reason for which the work was cancelled, or else err.
func cause(work context.Context, err error) error {
	if c := context.Cause(work); err != nil && c != nil {
		return c
	}
	return err
}

// open takes the partition over and starts everything that the loop needs.
func (r *run) open(ctx, work context.Context, cancel context.CancelCauseFunc) error {
	if err := r.openLog(ctx); err != nil {
		return err
	}
	log := r.log
	if err := r.openInputs(ctx); err != nil {
		return err
	}
	if err := r.markLog(ctx); err != nil {
		return err
	}
	r.dead = deadAfter(log.dead, r.pos)
	r.handled = make([]atomic.Uint64, len(r.Inputs))
	r.out = newOutbox(work, r.JS, func(err error) { cancel(err) })
	r.out.lost = r.letterLost
	r.owner = &Owner{Names: r.Names, Partition: r.Partition, Epoch: log.Epoch(), Restored: log.returned, Recovered: log.recovered, JS: r.JS, inputs: r.Inputs, out: r.out, role: r.ledger.role(r.Role),
		Log: r.Env.Log.With("role", r.Role, "partition", r.Partition, "epoch", log.Epoch())}
	for i, rd := range r.readers {
		r.handled[i].Store(r.pos[i].Seq)
		if err := r.startReader(ctx, i); err != nil {
			return err
		}
		r.out.serial = r.out.serial || rd.stream.CachedInfo().Config.Replicas > 1
	}
	answer(r.owner, ProgressOf(r.Role), true, func(ctx context.Context, _ None) (Progress, error) { return r.progress(ctx), nil })
	if err := r.proc.Start(work, r.owner); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	var err error
	if r.asking, err = r.NC.Subscribe(r.Names.Query(r.Role, r.Partition)+".*", func(m *nats.Msg) { r.receive(work, m) }); err != nil {
		return err
	}
	if r.Observe != nil {
		r.Observe(r.Spec, r.progress)
	}
	r.onReady()
	return r.afterWork(work)
}

// openLog takes the log over.
func (r *run) openLog(ctx context.Context) error {
	known, err := readMark(ctx, r.JS, r.Names, r.key())
	if err != nil {
		return err
	}
	r.log, err = OpenLog(ctx, r.JS, r.Names.Stream(events.StreamState), r.Names.Log(r.Role, r.Partition), r.Names.Snap(r.Role, r.Partition), r.proc, known)
	switch {
	case errors.Is(err, ErrLogLost):
		return fmt.Errorf("%w: `tidegate recover %s` says what that costs and how to go on", err, r.key())
	case err != nil:
		return fmt.Errorf("log: %w", err)
	case r.log.anew:
		r.Env.Log.Warn("begins_after_a_lost_log", "role", r.Role, "partition", r.Partition, "accepted", r.log.recovered)
	}
	return nil
}

// markLog notes outside of STATE that the partition has a log.
func (r *run) markLog(ctx context.Context) error {
	m := mark{Epoch: r.log.Epoch()}
	for _, pos := range r.pos {
		m.Shifts = append(m.Shifts, pos.Shift)
	}
	return writeMark(ctx, r.JS, r.Names, r.key(), m)
}

// letterLost counts a dead letter that DEAD refused.
func (r *run) letterLost(place string, err error) {
	role := r.ledger.role(r.Role)
	role.lost(err)
	if n := role.throttle(r.Now()); n > 0 {
		r.Env.Log.Error("dead_letter_lost", "role", r.Role, "origin", place, "count", n, "error", err,
			"fix", "give the stream DEAD space, or restart Tidegate to make it again")
	}
}

func (r *run) stopReading() {
	r.inbox.close()
	for _, rd := range r.readers {
		if rd.stop != nil {
			rd.stop()
		}
	}
}

// IsStop reports whether err only means that the partition goes on elsewhere.
func IsStop(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, ErrLost) || errors.Is(err, context.Canceled)
}
