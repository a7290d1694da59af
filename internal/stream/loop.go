package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
)

// loop calls the Processor until ctx is done or the work ends.
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
		case gone := <-r.gone:
			if err = r.handle(work); err == nil { // what was read before it was lost
				err = r.commit(work)
			}
			return cmp.Or(err, gone)
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

// handle gives the Processor the messages of the inbox: all at once, or one by one
// where it must be careful.
func (r *run) handle(work context.Context) error {
	batch := r.inbox.take(r.spare)
	for rest := batch; len(rest) > 0; {
		n := len(rest)
		if r.mustBeCareful() {
			n = 1
		}
		if err := r.step(work, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	clear(batch)
	r.spare = batch
	return nil
}

// step handles some messages and does what follows from them. When it has left out a
// dead part, or must be careful, it commits: so another failure does not lead back to
// these messages.
func (r *run) step(work context.Context, some []Message) error {
	careful := r.mustBeCareful()
	skipped, err := r.handleAll(some)
	if err != nil {
		return err
	}
	r.unsettled = true
	if careful {
		r.suspect = &DeadPart{Input: some[0].Input, Seq: some[0].Seq, Index: whole}
	}
	if err := r.guarded("flush", r.proc.Flush); err != nil {
		return err
	}
	if err := r.afterWork(work); err != nil {
		return err
	}
	if careful || skipped {
		err = r.commit(work)
	}
	r.suspect = nil
	return err
}

// handleAll calls Handle with each message, and reports whether it has left out a dead
// part. It recovers once for all of them, because a recover for each would be felt.
func (r *run) handleAll(some []Message) (skipped bool, err error) {
	at := 0
	defer func() {
		if cause := recover(); cause != nil {
			err = r.blame(&some[at], guard.Recovered(cause))
		}
	}()
	prefetcher, prefetches := r.proc.(Prefetcher)
	for ; at < len(some); at++ {
		if prefetches && at%PrefetchMax == 0 {
			r.prefetch(prefetcher, some[at:min(at+PrefetchMax, len(some))])
		}
		m := &some[at]
		pos := &r.pos[m.Input]
		if m.Seq <= pos.number() {
			continue // a consumer that was replaced had delivered it
		}
		if len(r.dead) > 0 {
			m.Dead = r.dead[place{m.Input, m.Seq}]
			skipped = skipped || m.Dead != nil
		}
		if err := r.handleOne(m); err != nil {
			return skipped, err
		}
		pos.Seq, pos.At = m.Seq-pos.Shift, m.Time
		r.handled[m.Input].Store(pos.Seq)
	}
	return skipped, nil
}

// prefetch calls Prefetch, which the messages can do without.
func (r *run) prefetch(p Prefetcher, ms []Message) {
	if err := guard.Do(func() error { p.Prefetch(ms); return nil }); err != nil {
		r.ledger.role(r.Role).fail(err)
	}
}

func (r *run) handleOne(m *Message) error {
	if err := records.RefuseAnswer(m.Header, 0); err != nil {
		return r.owner.Reject(m, whole, m.Data, err)
	}
	if why, dead := m.Dead[whole]; dead {
		return r.owner.Reject(m, whole, m.Data, errors.New(why))
	}
	err := r.proc.Handle(m)
	if err == nil || isOutside(err) {
		return err
	}
	if bad := (rejected{}); errors.As(err, &bad) {
		return r.owner.Reject(m, 0, m.Data, bad.error)
	}
	return r.blame(m, fmt.Errorf("%s/%d: %w", r.Inputs[m.Input].Stream, m.Seq, err))
}

// afterWork lets the Processor do what is due, and answers questions whose
// positions are reached.
func (r *run) afterWork(work context.Context) error {
	var next time.Time
	if err := r.guarded("tick", func() (err error) { next, err = r.proc.Tick(r.Now()); return err }); err != nil {
		return err
	}
	if err := r.guarded("flush", r.proc.Flush); err != nil {
		return err
	}
	r.tickAt.Stop()
	wait := time.Hour // so that an old snapshot is noticed
	if !next.IsZero() {
		wait = min(wait, max(next.Sub(r.Now()), time.Millisecond))
	}
	r.tickAt.Reset(wait)
	r.unsaved = true
	if r.commitAt == nil {
		r.commitAt = time.After(cmp.Or(r.CommitEvery, time.Second))
	}
	r.answer(work)
	return nil
}

// commit writes the changes since the last commit, if there are any, and begins a
// snapshot when it is time for one.
func (r *run) commit(work context.Context) error {
	r.commitAt = nil
	if r.unsaved {
		if err := r.save(work); err != nil {
			return err
		}
	}
	now := r.Now()
	if !r.snapping && now.After(r.snapshotAt) && r.log.WantsSnapshot(cmp.Or(r.SnapshotAfter, defaultSnapshotAfter), now) {
		return r.beginSnapshot(work)
	}
	return nil
}

func (r *run) save(work context.Context) error {
	if err := r.out.drain(); err != nil {
		return err
	}
	var payload []byte
	if err := r.guarded("commit", func() (err error) { payload, err = r.proc.Commit(); return err }); err != nil {
		return err
	}
	if payload == nil && equalPositions(r.pos, r.log.Positions()) {
		r.unsaved, r.unsettled = false, false
		return nil
	}
	if err := r.out.drain(); err != nil { // messages that Commit published
		return err
	}
	if err := r.log.Commit(work, r.pos, payload); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	r.unsaved, r.unsettled = false, false
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

// snapshotDone is the end of writing a snapshot's parts.
type snapshotDone struct {
	s   *pendingSnapshot
	err error
}

// snapshotPause is how long after a snapshot that failed the next one is taken.
const snapshotPause = time.Minute

// beginSnapshot takes a snapshot and writes its parts in the background. Without
// snapshots the log grows, and everything else goes on.
func (r *run) beginSnapshot(work context.Context) error {
	data, err := guard.Value(r.proc.Snapshot)
	if err != nil {
		r.snapshotAt = r.Now().Add(snapshotPause)
		r.ledger.role(r.Role).fail(err)
		r.Env.Log.Error("snapshot_not_written", "role", r.Role, "partition", r.Partition, "error", err)
		return nil
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
	if done.err != nil { // a later commit begins another one
		r.Env.Log.Warn("snapshot_not_written", "role", r.Role, "partition", r.Partition, "error", done.err)
		return nil
	}
	return r.log.FinishSnapshot(work, done.s, r.Now())
}
