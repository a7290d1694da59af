package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// Spec says which partition of which role is run, and on what.
type Spec struct {
	Role      string
	Partition int
	Inputs    []Input
}

// Env is what every partition of a process shares.
type Env struct {
	NC     *nats.Conn
	JS     jetstream.JetStream
	Names  events.Names
	Holder string // names this process in leases
	Log    *slog.Logger
	Now    func() time.Time
	// CommitEvery is the least time between commits; 0 is one second.
	CommitEvery time.Duration
	// SnapshotAfter is how many bytes of commits a snapshot is made after at the
	// earliest; 0 is 1 MiB.
	SnapshotAfter int
	// Observe, when set, is given a function that tells how a partition that has
	// just been taken over goes on; it may be called at any time.
	Observe func(Spec, func(context.Context) Progress)
	// LeaseTTL is DefaultLeaseTTL unless set.
	LeaseTTL time.Duration
}

// run is one ownership of a partition.
type run struct {
	Env
	Spec
	proc    Processor
	log     *Log
	out     *outbox
	inbox   *inbox
	readers []*reader
	pos     []Position
	spare   []Message
	ending  atomic.Bool // the last commit is being made

	owner     *Owner
	asking    *nats.Subscription // to the questions
	questions chan asked
	waiting   []asked
	snapshot  chan snapshotDone
	snapping  bool
	moved     bool // positions or state changed since the last commit
	commitAt  <-chan time.Time
	tickAt    *time.Timer
	onReady   func()
	handled   []atomic.Uint64 // sequence of the last message handled, by input
}

type snapshotDone struct {
	s   *pendingSnapshot
	err error
}

// Run owns the partition until ctx is done (then it commits and returns nil),
// the lease is lost, or something fails for good. lost is the lease's.
func Run(ctx context.Context, env Env, spec Spec, proc Processor, lost <-chan struct{}, onReady func()) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	r := &run{
		Env: env, Spec: spec, proc: proc, inbox: newInbox(), onReady: onReady,
		questions: make(chan asked, 64), snapshot: make(chan snapshotDone, 1), tickAt: time.NewTimer(time.Hour),
	}
	r.tickAt.Stop()
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
	err := r.open(ctx, work, cancel)
	if !opening() {
		return nil // stopped while it loaded: there is nothing to commit
	}
	if err != nil {
		return cause(work, err)
	}
	defer context.AfterFunc(ctx, func() { // a clean stop must not hang on a broker, or on what the processor waits for
		time.AfterFunc(2*time.Second, func() {
			if !r.ending.Load() {
				cancel(context.Canceled)
			}
		})
		time.AfterFunc(4*time.Second, func() { cancel(context.Canceled) })
	})()
	return cause(work, r.loop(ctx, work))
}

// cause prefers the reason for which the work was cancelled.
func cause(work context.Context, err error) error {
	if c := context.Cause(work); err != nil && c != nil {
		return c
	}
	return err
}

func (r *run) open(ctx, work context.Context, cancel context.CancelCauseFunc) error {
	log, err := OpenLog(ctx, r.JS, r.Names.Stream(events.StreamState),
		r.Names.Log(r.Role, r.Partition), r.Names.Snap(r.Role, r.Partition), r.proc)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	r.log = log
	r.pos = make([]Position, len(r.Inputs))
	copy(r.pos, log.Positions())
	r.handled = make([]atomic.Uint64, len(r.Inputs))
	r.out = newOutbox(work, r.JS, func(err error) { cancel(err) })
	r.owner = &Owner{Names: r.Names, Partition: r.Partition, Epoch: log.Epoch(), JS: r.JS, inputs: r.Inputs, out: r.out,
		Log: r.Env.Log.With("role", r.Role, "partition", r.Partition, "epoch", log.Epoch())}
	for i, in := range r.Inputs {
		rd, state, err := startReader(ctx, r.Env, in, i, &r.pos[i], r.inbox)
		if err != nil {
			return err
		}
		r.handled[i].Store(r.pos[i].Seq)
		r.readers = append(r.readers, rd)
		r.out.serial = r.out.serial || rd.replicated
		r.owner.Inputs = append(r.owner.Inputs, state)
	}
	answer(r.owner, ProgressOf(r.Role), true, func(ctx context.Context, _ None) (Progress, error) { return r.progress(ctx), nil })
	if err := r.proc.Start(work, r.owner); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if r.asking, err = r.NC.Subscribe(r.Names.Query(r.Role, r.Partition)+".*", func(m *nats.Msg) { r.hear(work, m) }); err != nil {
		return err
	}
	if r.Observe != nil {
		r.Observe(r.Spec, r.progress)
	}
	r.onReady()
	return r.afterWork(work)
}

func (r *run) stopReading() {
	r.inbox.close()
	for _, rd := range r.readers {
		rd.stop()
	}
}

func (r *run) loop(ctx, work context.Context) error {
	for {
		var err error
		select {
		case <-work.Done():
			return context.Cause(work)
		case <-ctx.Done():
			r.ending.Store(true)
			return r.commit(work)
		case <-r.inbox.ready:
			err = r.handle(work)
		case <-r.tickAt.C:
			err = r.afterWork(work)
		case <-r.commitAt:
			err = r.commit(work)
		case q := <-r.questions:
			r.waiting = append(r.waiting, q)
			r.answer(work)
		case done := <-r.snapshot:
			err = r.finishSnapshot(work, done)
		}
		if err != nil {
			return err
		}
	}
}

func (r *run) handle(work context.Context) error {
	batch := r.inbox.take(r.spare)
	expecter, expects := r.proc.(Expecter)
	for i := range batch {
		if expects && i%Ahead == 0 {
			expecter.Expect(batch[i:min(i+Ahead, len(batch))])
		}
		m := &batch[i]
		if m.Seq <= r.pos[m.Input].Seq {
			continue // an ordered consumer that began again
		}
		err := r.proc.Handle(m)
		if bad := (rejected{}); errors.As(err, &bad) {
			err = r.owner.Reject(m, 0, m.Data, bad.error)
		}
		if err != nil {
			return fmt.Errorf("%s/%d: %w", r.Inputs[m.Input].Stream, m.Seq, err)
		}
		r.pos[m.Input].Seq = m.Seq
		r.handled[m.Input].Store(m.Seq)
	}
	clear(batch)
	r.spare = batch
	if err := r.proc.Flush(); err != nil {
		return err
	}
	return r.afterWork(work)
}

// afterWork lets the processor do what is due, and answers who waited.
func (r *run) afterWork(work context.Context) error {
	next, err := r.proc.Tick(r.Now())
	if err != nil {
		return err
	}
	if err := r.proc.Flush(); err != nil {
		return err
	}
	r.tickAt.Stop()
	if !next.IsZero() {
		r.tickAt.Reset(max(next.Sub(r.Now()), time.Millisecond))
	}
	r.changed()
	r.answer(work)
	return nil
}

func (r *run) changed() {
	r.moved = true
	if r.commitAt == nil {
		r.commitAt = time.After(cmp.Or(r.CommitEvery, time.Second))
	}
}

func (r *run) commit(work context.Context) error {
	r.commitAt = nil
	if !r.moved {
		return nil
	}
	if err := r.out.drain(); err != nil {
		return err
	}
	payload, err := r.proc.Commit()
	if err != nil {
		return err
	}
	if payload == nil && equalPositions(r.pos, r.log.Positions()) {
		r.moved = false
		return nil
	}
	if err := r.out.drain(); err != nil { // what Commit published
		return err
	}
	if err := r.log.Commit(work, r.pos, payload); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	r.moved = false
	if !r.snapping && r.log.WantsSnapshot(cmp.Or(r.SnapshotAfter, defaultSnapshotAfter)) {
		return r.beginSnapshot(work)
	}
	return nil
}

func equalPositions(a, b []Position) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Seq != b[i].Seq {
			return false
		}
	}
	return true
}

func (r *run) beginSnapshot(work context.Context) error {
	data, err := r.proc.Snapshot()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	s := r.log.BeginSnapshot(data)
	r.snapping = true
	go func() {
		err := r.log.WriteParts(work, s, data)
		select {
		case r.snapshot <- snapshotDone{s, err}:
		case <-work.Done():
		}
	}()
	return nil
}

func (r *run) finishSnapshot(work context.Context, done snapshotDone) error {
	r.snapping = false
	if done.err != nil { // a later commit tries again
		r.Env.Log.Warn("snapshot_not_written", "role", r.Role, "partition", r.Partition, "error", done.err)
		return nil
	}
	return r.log.FinishSnapshot(work, done.s)
}

// IsStop says whether err only means that the partition goes on elsewhere.
func IsStop(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, ErrLost) || errors.Is(err, context.Canceled)
}
