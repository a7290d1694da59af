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
	"github.com/tidegate-io/tidegate/internal/stream"
)

// merged is what became of runs of SEEN.
type merged struct {
	from []fingerprint.Run
	to   fingerprint.Run
	err  error
}

// commitSeen puts the new fingerprints into the record or, when there are many
// or they are old, all that are in no run yet into a run of SEEN. Fewer stay in
// the log until an hour has passed, so that a quiet partition does not make a
// message of every commit.
func (p *Processor) commitSeen(r *record) {
	full := len(p.unchunked) >= p.archive.Chunk
	old := len(p.unchunked) > 0 && p.unchunked[0].Hour < p.f.hour
	if full || old {
		ctx, cancel := context.WithTimeout(p.owned, 2*time.Second)
		run, err := p.archive.Write(ctx, p.unchunked)
		cancel()
		if err == nil {
			p.archive.Expire(p.f.oldest())
			p.archive.Add(run)
			r.Chunks, p.unchunked, p.logged = []fingerprint.Run{run}, p.unchunked[:0], 0
			p.f.seen.Reset()
			p.merge()
			return
		}
		// The stream is away: the log takes them as well.
	}
	r.Seen = fingerprint.Encode(p.unchunked[p.logged:])
	p.logged = len(p.unchunked)
}

// applySeen is what commitSeen and commitMerge have done.
func (p *Processor) applySeen(r *record, seen []fingerprint.Entry) {
	p.obsolete = append(p.obsolete, r.Obsolete...)
	for _, run := range p.archive.Remove(r.Gone) { // its owner may not have come to it
		p.obsolete = append(p.obsolete, run.Messages()...)
	}
	p.archive.Add(r.Merged...)
	if len(r.Chunks) > 0 {
		p.archive.Add(r.Chunks...)
		p.unchunked, p.f.seen = nil, fingerprint.Set{}
		for _, e := range seen {
			p.f.seen.Add(e.FP, e.Hour)
		}
	}
	p.unchunked = append(p.unchunked, seen...)
	p.logged = len(p.unchunked)
}

// mergedSpan is what part of the horizon a run may span.
const mergedSpan = 8

// merge begins to merge runs if there are any to be merged.
func (p *Processor) merge() {
	if p.merging {
		return
	}
	runs := p.archive.Mergeable(uint32(p.f.horizon / time.Hour / mergedSpan))
	if runs == nil {
		return
	}
	p.merging = true
	ctx, archive, oldest := p.owned, p.archive, p.f.oldest()
	go func() {
		to, err := archive.Merge(ctx, runs, oldest)
		p.merged <- merged{runs, to, err}
	}()
}

// commitMerge takes down a merge that has ended. Nobody needs the messages of
// what was merged once this commit surely counts, at the next one.
func (p *Processor) commitMerge(r *record) {
	p.forget()
	var m merged
	select {
	case m = <-p.merged:
		p.merging = false
	default:
		return
	}
	if m.err != nil { // a later run tries again
		p.o.Log.Warn("fingerprints_not_merged", "error", m.err)
		return
	}
	for i := range m.from {
		r.Gone = append(r.Gone, m.from[i].ID())
		p.obsolete = append(p.obsolete, m.from[i].Messages()...)
	}
	p.archive.Remove(r.Gone) // one may have expired
	if len(m.to.Pages) > 0 { // not everything has expired
		r.Merged = []fingerprint.Run{m.to}
		p.archive.Add(m.to)
	}
	p.merge()
}

// keepMerged is for how long at least the messages of merged runs stay, so that
// a backup of STATE has what it names in one of SEEN that was taken later.
const keepMerged = 10 * time.Minute

// forget deletes messages that no state has named for a while. What stays all
// the same expires.
func (p *Processor) forget() {
	now := p.opt.Now()
	if now.Sub(p.forgot) < p.keepMerged {
		return
	}
	if numbers := p.deletable; len(numbers) > 0 {
		go p.store.remove(p.owned, numbers)
	}
	p.deletable, p.obsolete, p.forgot = p.obsolete, nil, now
}

// loadSeen makes ready the runs that the state names; others do not count.
func (p *Processor) loadSeen(ctx context.Context) error {
	p.f.now = p.f.storedAt
	s, err := p.o.JS.Stream(ctx, p.o.Names.Stream(events.StreamSeen))
	if err != nil {
		return err
	}
	p.store.stream = s
	p.archive.Expire(p.f.oldest())
	if err := p.checkSeen(s.CachedInfo().State); err != nil {
		return err
	}
	return p.archive.Load(ctx)
}

// checkSeen looks for runs that are not in the stream any more.
func (p *Processor) checkSeen(state jetstream.StreamState) error {
	lost, expired := 0, []uint64(nil)
	// The stream's time stands still while nobody uses the partition.
	needed := fingerprint.Hour(p.opt.Now().Add(-p.opt.Horizon))
	for _, r := range p.archive.Runs() {
		numbers := r.Messages()
		switch {
		case slices.Min(numbers) >= state.FirstSeq && slices.Max(numbers) <= state.LastSeq:
		case r.Hour < needed:
			expired = append(expired, r.ID())
		default:
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d runs of the stream %s are gone before their time: was it purged?", lost, p.o.Names.Stream(events.StreamSeen))
	}
	if len(expired) > 0 {
		p.archive.Remove(expired)
		p.o.Log.Info("fingerprints_have_expired", "runs", len(expired))
	}
	return nil
}

// seenStore is the stream SEEN as the store of a partition's fingerprints.
type seenStore struct {
	o      *stream.Owner
	stream jetstream.Stream
	tries  int // after which a message that is not there is gone
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
	seenPause = 100 * time.Millisecond // between tries
	seenTries = 50
)

// Get implements fingerprint.Store: it returns the message, or waits until ctx
// ends, for an event of which nobody can say whether it was counted must wait.
func (s *seenStore) Get(ctx context.Context, number uint64) ([]byte, error) {
	missing := 0
	for tries := 0; ; tries++ {
		m, err := s.stream.GetMsg(ctx, number)
		if err == nil {
			return m.Data, nil
		}
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			// A replica may be behind the one that took the message.
			if missing++; missing >= s.tries {
				return nil, fmt.Errorf("message %d of %s is gone: %w", number, s.o.Names.Stream(events.StreamSeen), err)
			}
		} else if tries == 0 {
			s.o.Log.Warn("fingerprints_are_away", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(seenPause):
		}
	}
}

// remove deletes messages that may be there.
func (s *seenStore) remove(ctx context.Context, numbers []uint64) {
	for _, number := range numbers {
		err := s.stream.DeleteMsg(ctx, number)
		switch {
		case err == nil || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful): // a former owner was here
		case ctx.Err() != nil:
			return
		default:
			s.o.Log.Warn("fingerprints_not_deleted", "error", err)
			return
		}
	}
}
