package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
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

// handle gives the Processor the messages of the inbox.
func (r *run) handle(work context.Context) error {
	batch := r.inbox.take(r.spare)
	prefetcher, prefetches := r.proc.(Prefetcher)
	for i := range batch {
		if prefetches && i%PrefetchMax == 0 {
			prefetcher.Prefetch(batch[i:min(i+PrefetchMax, len(batch))])
		}
		m := &batch[i]
		if m.Seq <= r.pos[m.Input].Seq {
			continue // a consumer that was replaced had delivered it
		}
		if err := r.handleOne(m); err != nil {
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

func (r *run) handleOne(m *Message) error {
	err := r.proc.Handle(m)
	if bad := (rejected{}); errors.As(err, &bad) {
		return r.owner.Reject(m, 0, m.Data, bad.error)
	}
	return err
}

// afterWork lets the Processor do what is due, and answers questions whose
// positions are reached.
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
	r.unsaved = true
	if r.commitAt == nil {
		r.commitAt = time.After(cmp.Or(r.CommitEvery, time.Second))
	}
	r.answer(work)
	return nil
}

// commit writes the changes since the last commit, if there are any, and begins a
// snapshot when the log has grown enough.
func (r *run) commit(work context.Context) error {
	r.commitAt = nil
	if !r.unsaved {
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
		r.unsaved = false
		return nil
	}
	if err := r.out.drain(); err != nil { // messages that Commit published
		return err
	}
	if err := r.log.Commit(work, r.pos, payload); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	r.unsaved = false
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

// snapshotDone is the end of writing a snapshot's parts.
type snapshotDone struct {
	s   *pendingSnapshot
	err error
}

// beginSnapshot takes a snapshot and writes its parts in the background.
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
	if done.err != nil { // a later commit begins another one
		r.Env.Log.Warn("snapshot_not_written", "role", r.Role, "partition", r.Partition, "error", done.err)
		return nil
	}
	return r.log.FinishSnapshot(work, done.s)
}
