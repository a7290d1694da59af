package stream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// defaultSnapshotAfter keeps small partitions from making snapshots all the
// time.
const defaultSnapshotAfter = 1 << 20

// snapshotAge is after how long an old state is purged even if the log did not grow:
// personal data that were erased are still in there.
const snapshotAge = 24 * time.Hour

// WantsSnapshot reports whether the log has grown to twice its last snapshot, and
// to at least the given number of bytes, or is old and holds former states.
func (l *Log) WantsSnapshot(atLeast int, now time.Time) bool {
	if l.size >= max(2*l.manifest.Size, atLeast) {
		return true
	}
	if l.since.IsZero() { // the log is new
		l.since = now
	}
	return l.number > 0 && !l.pure && now.Sub(l.since) >= snapshotAge
}

// pendingSnapshot is a snapshot whose parts are being written. It keeps what its
// manifest will say, because commits go on meanwhile.
type pendingSnapshot struct {
	m    meta
	size int // of the log when the snapshot was taken
}

// BeginSnapshot begins a snapshot of the state as of the last commit, which is
// data. WriteParts and FinishSnapshot must follow.
func (l *Log) BeginSnapshot(data []byte) *pendingSnapshot {
	return &pendingSnapshot{size: l.size, m: l.record(kindManifest, func(m *meta) {
		// New subjects: a stale owner can never write to them.
		m.Generation = fmt.Sprintf("%d-%d", l.epoch, l.number)
		m.Parts, m.Size = (len(data)+maxPart-1)/maxPart, len(data)
		m.After, m.Previous = l.lastPart, l.manifest.seq
		m.Dead, m.Careful, m.Losses = slices.Clone(l.dead), l.careful, slices.Clone(l.losses)
		for i, d := range m.Dead { // the letters of these are written
			if d.Input < len(l.positions) && d.Seq <= l.positions[d.Input].number() {
				m.Dead[i].Reason = ""
			}
		}
	})}
}

// WriteParts stores the parts of the snapshot. It may run beside commits.
func (l *Log) WriteParts(ctx context.Context, s *pendingSnapshot, data []byte) error {
	for part := range s.m.Parts {
		chunk := data[part*maxPart : min(len(data), (part+1)*maxPart)]
		if _, err := l.js.Publish(ctx, l.part(s.m.Generation, part), chunk); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.m.Generation, err)
		}
	}
	return nil
}

// FinishSnapshot writes the manifest. Then it purges everything below the manifest
// before it, which a reader may still be using.
func (l *Log) FinishSnapshot(ctx context.Context, s *pendingSnapshot, now time.Time) error {
	seq, err := l.publish(ctx, s.m, nil)
	if err != nil {
		return err
	}
	previous := l.manifest
	l.last, l.manifest, l.since = seq, manifestAt{meta: s.m, seq: seq}, now
	l.size -= s.size
	if previous.seq == 0 {
		return nil
	}
	err = l.stream.Purge(ctx, jetstream.WithPurgeSubject(l.subject), jetstream.WithPurgeSequence(previous.After+1))
	if err != nil {
		return nil // it costs space only, until the next snapshot purges again
	}
	l.pure = previous.After == l.lastPart
	l.purgeGenerations(ctx, func(generation string) bool {
		return generation != previous.Generation && generation != s.m.Generation
	})
	return nil
}

// dropOrphans purges the snapshots of former owners that no manifest names.
func (l *Log) dropOrphans(ctx context.Context) {
	keep := map[string]bool{l.manifest.Generation: true}
	if l.manifest.Previous != 0 {
		if raw, err := l.stream.GetMsg(ctx, l.manifest.Previous); err == nil {
			if m, _, err := decodeRecord(raw.Data); err == nil {
				keep[m.Generation] = true
			}
		}
	}
	l.purgeGenerations(ctx, func(generation string) bool { return !keep[generation] })
}

// purgeGenerations purges the snapshots for which drop returns true. It leaves
// those of newer owners alone: this owner may be stale without knowing it.
func (l *Log) purgeGenerations(ctx context.Context, drop func(generation string) bool) {
	info, err := l.stream.Info(ctx, jetstream.WithSubjectFilter(l.snap+".>"))
	if err != nil {
		return
	}
	seen := map[string]bool{}
	for subject := range info.State.Subjects {
		generation, _, _ := strings.Cut(strings.TrimPrefix(subject, l.snap+"."), ".")
		var epoch, number uint64
		if _, err := fmt.Sscanf(generation, "%d-%d", &epoch, &number); err != nil || epoch > l.epoch || seen[generation] {
			continue
		}
		seen[generation] = true
		if epoch == l.epoch && number >= l.number {
			continue
		}
		if drop(generation) {
			_ = l.stream.Purge(ctx, jetstream.WithPurgeSubject(l.snap+"."+generation+".>"))
		}
	}
}
