package aggregator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// This file keeps the partition's fingerprints: the newest in the log and in
// folder.seen, all others in the stream SEEN as runs, which a goroutine merges. A
// run counts when a commit names it.

// mergeResult is the result of merging runs of SEEN.
type mergeResult struct {
	from []fingerprint.Run
	to   fingerprint.Run
	err  error
}

// commitSeen adds the new fingerprints to the record. If there are many, or some
// are from an earlier hour, it writes all that are in no run yet into a run of SEEN
// instead, and the record names the run. So a quiet partition writes at most one
// run an hour, and not one with each commit.
func (p *Processor) commitSeen(r *record) error {
	full := len(p.unarchived) >= p.archive.Chunk
	old := len(p.unarchived) > 0 && p.unarchived[0].Hour < p.f.hour
	if full || old {
		ctx, cancel := context.WithTimeout(p.owned, 2*time.Second)
		run, err := p.archive.Write(ctx, p.unarchived)
		cancel()
		if err == nil {
			if run.ID() <= p.archive.Newest() {
				return seenSetBack(run.ID())
			}
			p.archive.Expire(p.f.oldestHour())
			p.archive.Add(run)
			r.Chunks, p.unarchived, p.inLog = []fingerprint.Run{run}, p.unarchived[:0], 0
			p.f.seen.Reset()
			p.startMerge()
			return nil
		}
		// SEEN is not available. The log takes the fingerprints, and the next commit tries again.
	}
	r.Seen = fingerprint.Encode(p.unarchived[p.inLog:])
	p.inLog = len(p.unarchived)
	return nil
}

// applySeen applies what commitLost, commitMerge and commitSeen have put into a record.
func (p *Processor) applySeen(r *record, seen []fingerprint.Entry) {
	p.applyLost(r)
	p.obsolete = append(p.obsolete, r.Obsolete...)
	for _, run := range p.archive.Remove(r.Gone) { // the former owner may not have deleted them
		p.obsolete = append(p.obsolete, run.Messages()...)
	}
	p.archive.Add(r.Merged...)
	if len(r.Chunks) > 0 {
		p.archive.Add(r.Chunks...)
		p.unarchived, p.f.seen = nil, fingerprint.Set{}
		for _, e := range seen {
			p.f.seen.Add(e.FP, e.Hour)
		}
	}
	p.unarchived = append(p.unarchived, seen...)
	p.inLog = len(p.unarchived)
}

// A run spans at most the horizon divided by maxSpanShare.
const maxSpanShare = 8

// startMerge starts a goroutine that merges runs, if there are runs to merge and
// no such goroutine is running.
func (p *Processor) startMerge() {
	if p.merging {
		return
	}
	runs := p.archive.Mergeable(uint32(p.f.horizon / time.Hour / maxSpanShare))
	if runs == nil {
		return
	}
	p.merging, p.mergeAfter = true, p.archive.Newest()
	ctx, archive, oldest := p.owned, p.archive, p.f.oldestHour()
	go func() {
		to, err := guard.Value(func() (fingerprint.Run, error) { return archive.Merge(ctx, runs, oldest) })
		p.mergeDone <- mergeResult{runs, to, err}
	}()
}

// commitMerge puts the result of a finished merge into the record. The messages of
// the merged runs are obsolete once this commit counts.
func (p *Processor) commitMerge(r *record) error {
	p.deleteObsolete()
	var m mergeResult
	select {
	case m = <-p.mergeDone:
		p.merging = false
	default:
		return nil
	}
	if errors.Is(m.err, fingerprint.ErrGone) {
		m.err = p.archive.LoseUnreadable(p.owned, m.from)
		p.commitLost(r)
		return stream.Outage(m.err)
	}
	if m.err != nil { // the next run that is written starts another attempt
		p.o.Log.Warn("fingerprints_not_merged", "error", m.err)
		return nil
	}
	if len(m.to.Pages) > 0 && m.to.ID() <= p.mergeAfter {
		return seenSetBack(m.to.ID())
	}
	for i := range m.from {
		r.Gone = append(r.Gone, m.from[i].ID())
	}
	for _, run := range p.archive.Remove(r.Gone) { // some may have expired or got lost meanwhile
		p.obsolete = append(p.obsolete, run.Messages()...)
	}
	if len(m.to.Pages) > 0 { // else all fingerprints have expired
		r.Merged = []fingerprint.Run{m.to}
		p.archive.Add(m.to)
	}
	p.startMerge()
	return nil
}

// keepMerged is the least time that the messages of merged runs are kept. A backup
// of STATE names runs, and a backup of SEEN that was made a little later must
// contain them.
const keepMerged = 10 * time.Minute

// deleteObsolete deletes the messages that were obsolete when it last did so, at
// least keepMerged ago. Messages that it fails to delete expire with the stream.
func (p *Processor) deleteObsolete() {
	now := p.opt.Now()
	if now.Sub(p.deletedAt) < p.keepMerged {
		return
	}
	if numbers := p.unnamed(p.deletable); len(numbers) > 0 {
		go p.store.remove(p.owned, numbers)
	}
	p.deletable, p.obsolete, p.deletedAt = p.obsolete, nil, now
}

// loadSeen loads the filters of the runs that the state names. Other runs in SEEN
// do not count.
func (p *Processor) loadSeen(ctx context.Context) error {
	p.f.now = p.f.storedAt
	s, err := p.o.JS.Stream(ctx, p.o.Names.Stream(events.StreamSeen))
	if err != nil {
		return err
	}
	p.store.stream = s
	// p.f.now does not advance while the partition has no events, so it is not used here.
	p.archive.Expire(max(p.f.oldestHour(), fingerprint.Hour(p.opt.Now().Add(-p.opt.Horizon))))
	state := s.CachedInfo().State
	p.archive.Lose(func(r *fingerprint.Run) bool {
		numbers := r.Messages()
		return slices.Min(numbers) < state.FirstSeq || slices.Max(numbers) > state.LastSeq
	})
	return p.archive.Load(ctx)
}

// seenStore reads and writes the messages of a partition in the stream SEEN.
type seenStore struct {
	o        *stream.Owner
	stream   jetstream.Stream
	attempts int // a message that was not found so often is gone
}

// Put implements fingerprint.Store.
func (s *seenStore) Put(ctx context.Context, data []byte) (uint64, error) {
	ack, err := s.o.JS.Publish(ctx, s.o.Names.Seen(s.o.Partition), data)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

const (
	retryPause  = 100 * time.Millisecond
	maxAttempts = 50
)

// Get implements fingerprint.Store. While SEEN is not available it waits, until ctx
// ends: without the fingerprints the fold cannot say whether an event was counted.
func (s *seenStore) Get(ctx context.Context, number uint64) ([]byte, error) {
	missing := 0
	for attempt := 0; ; attempt++ {
		m, err := s.stream.GetMsg(ctx, number)
		if err == nil && m.Subject != s.o.Names.Seen(s.o.Partition) {
			return nil, fmt.Errorf("message %d of %s: %w: it is of another partition", number, s.o.Names.Stream(events.StreamSeen), fingerprint.ErrGone)
		}
		if err == nil {
			return m.Data, nil
		}
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			// The replica that answers may not have the message yet.
			if missing++; missing >= s.attempts {
				return nil, fmt.Errorf("message %d of %s: %w", number, s.o.Names.Stream(events.StreamSeen), fingerprint.ErrGone)
			}
		} else if attempt == 0 {
			s.o.Log.Warn("fingerprints_are_away", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(retryPause):
		}
	}
}

// remove deletes messages of the partition, some of which may already be deleted.
func (s *seenStore) remove(ctx context.Context, numbers []uint64) {
	for _, number := range numbers {
		m, err := s.stream.GetMsg(ctx, number)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue
		case err == nil && m.Subject != s.o.Names.Seen(s.o.Partition): // SEEN had lost its end
			continue
		case err == nil:
			err = s.stream.DeleteMsg(ctx, number)
		}
		switch {
		case err == nil || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful): // a former owner has deleted it
		case ctx.Err() != nil:
			return
		default:
			s.o.Log.Warn("fingerprints_not_deleted", "error", err)
			return
		}
	}
}
