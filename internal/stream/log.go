package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidegate-io/tidegate/events"
)

// maxPart bounds the payload of one message of a log or snapshot.
const maxPart = 512 << 10

type recordKind string

const (
	kindEpoch    recordKind = "epoch"
	kindCommit   recordKind = "commit"
	kindManifest recordKind = "manifest"
)

// Format is the newest format of the records of logs that this version reads, and the
// one that it writes. It is that of the header line and of the payload of each role: a
// record of another one may not be read as this one.
const Format = 1

// meta is the first line of every record in a log; a commit's payload follows.
type meta struct {
	Kind      recordKind `json:"kind"`
	Format    uint64     `json:"format"` // 0 in the first records, stands for 1
	Epoch     uint64     `json:"epoch"`
	Number    uint64     `json:"number"` // of the last commit, this one included
	Part      int        `json:"part,omitempty"`
	Last      bool       `json:"last,omitempty"` // the last part of a commit, which makes it count
	Positions []Position `json:"positions,omitempty"`
	Writer    string     `json:"writer"`             // one for each ownership
	Restored  string     `json:"restored,omitempty"` // which restore the stream had come from: see RestoredKey
	Recovered time.Time  `json:"recovered,omitzero"` // when somebody accepted that the former log was lost
	Manifest  uint64     `json:"manifest,omitempty"` // sequence of the newest manifest before this record
	// Of commits, what is new; of manifests, all of it:
	Dead    []DeadPart `json:"dead,omitempty"`
	Careful []uint64   `json:"careful,omitempty"` // numbers up to which messages are handled one by one, by input
	Losses  []Loss     `json:"losses,omitempty"`
	// Of manifests:
	Generation string `json:"generation,omitempty"`
	Parts      int    `json:"parts,omitempty"`
	Size       int    `json:"size,omitempty"`
	After      uint64 `json:"after,omitempty"`    // sequence of the last commit that the snapshot includes
	Previous   uint64 `json:"previous,omitempty"` // sequence of the manifest before
}

func (m *meta) encode(payload []byte) []byte {
	line, _ := json.Marshal(m) // plain fields always encode
	return append(append(line, '\n'), payload...)
}

func decodeRecord(data []byte) (m meta, payload []byte, err error) {
	line, payload, ok := bytes.Cut(data, []byte{'\n'})
	if !ok {
		return m, nil, fmt.Errorf("record of a log has no header line")
	}
	if err := json.Unmarshal(line, &m); err != nil {
		var only struct {
			Format uint64 `json:"format"`
		}
		if json.Unmarshal(line, &only) != nil || only.Format <= Format {
			return m, nil, fmt.Errorf("record of a log: %w", err)
		}
		m.Format = only.Format
	}
	return m, payload, events.CheckFormat("the record", m.Format, Format)
}

// Log is the fenced log of a partition, as its owner writes it. Its methods are
// not safe for concurrent use.
type Log struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	name    string
	subject string
	snap    string // prefix of the snapshots' subjects
	writer  string

	epoch     uint64
	number    uint64
	positions []Position
	last      uint64 // sequence of the subject's last message: the fence
	behind    int    // how often in a row the stream ended before it
	manifest  manifestAt
	size      int       // bytes of the commits since the last snapshot
	lastPart  uint64    // sequence of the last whole commit
	since     time.Time // when the last snapshot was taken; without one, when the log began
	pure      bool      // no former state is left in the log
	dead      []DeadPart
	careful   []uint64
	losses    []Loss
	restored  string
	returned  bool // the stream was restored from a backup since the last owner
	recovered time.Time
	anew      bool // this owner begins after a lost log
}

type manifestAt struct {
	meta
	seq uint64
}

// OpenLog takes the log of a partition over. It reads the log, gives its
// snapshot and commits to p, and appends an epoch record; from then on the former
// owner is fenced.
func OpenLog(ctx context.Context, js jetstream.JetStream, streamName, subject, snapPrefix string, p Processor, known *mark) (*Log, error) {
	s, err := js.Stream(ctx, streamName)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", streamName, err)
	}
	l := &Log{js: js, stream: s, name: streamName, subject: subject, snap: snapPrefix, writer: nuid.Next()}
	r := restorer{Log: l, p: p}
	if err := r.restore(ctx); err != nil {
		return nil, err
	}
	if err := l.begin(known); err != nil {
		return nil, err
	}
	for {
		epoch := l.nextEpoch()
		seq, err := l.publish(ctx, l.record(kindEpoch, func(m *meta) { m.Epoch = epoch }), nil)
		if err == nil {
			l.epoch = epoch
			l.last = seq
			l.dropOrphans(ctx)
			if l.anew {
				return l, l.note(ctx, func(*meta) {})
			}
			return l, nil
		}
		if !errors.Is(err, ErrFenced) || ctx.Err() != nil {
			return nil, err
		}
		// The former owner has committed meanwhile, or a newer one took over.
		before := l.epoch
		if err := r.readRest(ctx); err != nil {
			return nil, err
		}
		if l.epoch != before {
			return nil, ErrFenced
		}
	}
}

// Epoch returns the number of this ownership of the partition.
func (l *Log) Epoch() uint64 { return l.epoch }

// Positions returns the positions of the last commit.
func (l *Log) Positions() []Position { return l.positions }

func (l *Log) record(kind recordKind, set func(*meta)) meta {
	m := meta{Kind: kind, Format: Format, Epoch: l.epoch, Number: l.number, Positions: l.positions, Writer: l.writer, Manifest: l.manifest.seq,
		Restored: l.restored, Recovered: l.recovered}
	set(&m)
	return m
}

// Commit makes payload and positions the newest state of the partition. When it
// returns nil, they are durable. It returns ErrFenced, and commits nothing, when
// another process owns the partition. Otherwise it repeats its attempts until
// ctx is done.
func (l *Log) Commit(ctx context.Context, positions []Position, payload []byte) error {
	number := l.number + 1
	total := len(payload)
	for part := 0; ; part++ {
		n := min(len(payload), maxPart)
		chunk := payload[:n]
		payload = payload[n:]
		m := l.record(kindCommit, func(m *meta) {
			m.Number, m.Part, m.Last, m.Positions = number, part, len(payload) == 0, positions
		})
		seq, err := l.publish(ctx, m, chunk)
		if err != nil {
			return err
		}
		l.last = seq
		if m.Last {
			l.number, l.positions, l.lastPart = number, append([]Position(nil), positions...), seq
			l.size += total
			l.noted(m)
			return nil
		}
	}
}

// Note adds to the log that parts of messages are dead, and up to where messages are
// to be handled one by one (nil: no change). The state stays that of the last
// commit. Errors are those of Commit.
func (l *Log) Note(ctx context.Context, dead []DeadPart, careful []uint64) error {
	return l.note(ctx, func(m *meta) { m.Dead, m.Careful = dead, careful })
}

// note appends a commit that leaves the state as it is.
func (l *Log) note(ctx context.Context, set func(*meta)) error {
	m := l.record(kindCommit, func(m *meta) {
		m.Number++
		m.Last = true
		set(m)
	})
	seq, err := l.publish(ctx, m, nil)
	if err != nil {
		return err
	}
	l.last, l.number, l.positions, l.lastPart = seq, m.Number, m.Positions, seq
	l.noted(m)
	return nil
}

// newest returns at most n elements of a list: the last.
func newest[T any](list []T, n int) []T {
	return slices.Delete(list, 0, max(0, len(list)-n))
}

// Lose adds to the log what the inputs have lost, and from where they are read now.
// The state stays that of the last commit. Errors are those of Commit.
func (l *Log) Lose(ctx context.Context, losses []Loss, positions []Position) error {
	if l.returned {
		l.restored = l.restoredBy()
	}
	return l.note(ctx, func(m *meta) { m.Losses, m.Positions = losses, positions })
}

// noted takes over what a record says beside the state.
func (l *Log) noted(m meta) {
	l.size += 512
	l.pure = false
	l.dead = newest(append(l.dead, m.Dead...), maxDead)
	l.losses = newest(append(l.losses, m.Losses...), maxLosses)
	if m.Careful != nil {
		l.careful = m.Careful
	}
}

// publish appends one record at the fence. When an answer is lost, it looks the
// record up: a record that arrived is neither repeated nor taken for another
// owner's.
func (l *Log) publish(ctx context.Context, m meta, payload []byte) (uint64, error) {
	data := m.encode(payload)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		ack, err := l.js.Publish(attempt, l.subject, data, jetstream.WithExpectLastSequencePerSubject(l.last))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		if errors.Is(err, nats.ErrMaxPayload) {
			return 0, fmt.Errorf("a record of %d bytes: %w: raise max_payload to 1 MB", len(data), err)
		}
		seq, arrived, err := l.arrived(ctx, m)
		if arrived || err != nil && !isTemporary(err) {
			return seq, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// arrived reports whether the last record in the log is m, and its sequence. It
// returns false when the log still ends with the record before m, and ErrFenced
// when it ends with another owner's.
func (l *Log) arrived(ctx context.Context, m meta) (seq uint64, arrived bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	last, err := lastAtLeader(ctx, l.js, l.name, l.subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Seq < l.last:
		return 0, false, l.setBack(last.Seq)
	case err != nil:
		return 0, false, temporary{err}
	case last.Seq == l.last:
		l.behind = 0
		return 0, false, nil
	}
	got, _, err := decodeRecord(last.Data)
	if err != nil {
		return 0, false, err
	}
	if got.Writer == m.Writer && got.Kind == m.Kind && got.Epoch == m.Epoch && got.Number == m.Number && got.Part == m.Part {
		return last.Seq, true, nil
	}
	return 0, false, ErrFenced
}

// setBack returns what it means that the log ends before the last record that it has
// had: it lost its end, unless a leader that was just elected lags behind.
func (l *Log) setBack(last uint64) error {
	if l.last == 0 {
		return nil
	}
	if l.behind++; l.behind < settleAttempts(l.stream) {
		return temporary{fmt.Errorf("%s lacks its last records", l.subject)}
	}
	return fmt.Errorf("the log %s: %w: it ends at %d, and was written up to %d", l.subject, ErrSetBack, last, l.last)
}

// temporary marks an error after which another attempt may succeed.
type temporary struct{ error }

func isTemporary(err error) bool {
	var t temporary
	return errors.As(err, &t)
}
