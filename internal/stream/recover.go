package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// ErrLogLost is returned when the log of a partition that had one is gone, or cannot be
// read. Nothing can derive it, so a person decides: see Recover.
var ErrLogLost = errors.New("the log is lost")

// markPrefix begins the keys in the bucket of owners that say that a partition has had a
// log: log.<role>.<partition>. They are kept outside of STATE, to find out that it lost
// them.
const markPrefix = "log."

// mark is what such a key says.
type mark struct {
	Epoch  uint64   `json:"epoch"`            // of the newest owner
	Shifts []uint64 `json:"shifts,omitempty"` // Position.Shift of each input
	// Accepted is when somebody accepted that the log is lost. The next owner begins anew.
	Accepted time.Time `json:"accepted,omitzero"`
}

func ownersBucket(ctx context.Context, js jetstream.JetStream, n events.Names) (jetstream.KeyValue, error) {
	return js.KeyValue(ctx, n.Bucket(events.BucketOwners))
}

// readMark returns the mark of a partition, nil if there is none.
func readMark(ctx context.Context, js jetstream.JetStream, n events.Names, key string) (*mark, error) {
	kv, err := ownersBucket(ctx, js, n)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := kv.Get(ctx, markPrefix+key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mark of the log: %w", err)
	}
	var m mark
	if err := json.Unmarshal(e.Value(), &m); err != nil {
		return nil, fmt.Errorf("mark of the log: %w", err)
	}
	return &m, nil
}

func writeMark(ctx context.Context, js jetstream.JetStream, n events.Names, key string, m mark) error {
	kv, err := ownersBucket(ctx, js, n)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	b, _ := json.Marshal(m) // plain fields always encode
	if _, err := kv.Put(ctx, markPrefix+key, b); err != nil {
		return fmt.Errorf("mark of the log: %w", err)
	}
	return nil
}

// begin compares the log, as it was read, with its mark.
func (l *Log) begin(m *mark) error {
	switch {
	case m == nil || l.number > 0:
	case !m.Accepted.IsZero():
		l.epoch, l.recovered, l.anew = max(l.epoch, m.Epoch), m.Accepted, true
		l.positions = make([]Position, len(m.Shifts))
		for i, shift := range m.Shifts {
			l.positions[i].Shift = shift
		}
	case l.last == 0:
		return fmt.Errorf("%w: %s has no records, and its last owner was number %d", ErrLogLost, l.subject, m.Epoch)
	}
	return nil
}

// LostLog is a partition whose log is lost.
type LostLog struct {
	Role      string `json:"role"`
	Partition int    `json:"partition"`
	Why       string `json:"why"`
	epoch     uint64
}

// Name returns <role>.<partition>.
func (l LostLog) Name() string { return fmt.Sprintf("%s.%d", l.Role, l.Partition) }

// LostLogs returns the partitions that had a log and have none that can be read.
func LostLogs(ctx context.Context, js jetstream.JetStream, n events.Names) ([]LostLog, error) {
	kv, err := ownersBucket(ctx, js, n)
	if err != nil {
		return nil, err
	}
	list, err := kv.ListKeysFiltered(ctx, markPrefix+">")
	if err != nil {
		return nil, err
	}
	var keys []string
	for key := range list.Keys() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	lost := []LostLog{}
	for _, key := range slices.Compact(keys) {
		l := LostLog{}
		if _, err := fmt.Sscanf(strings.ReplaceAll(strings.TrimPrefix(key, markPrefix), ".", " "), "%s %d", &l.Role, &l.Partition); err != nil {
			continue
		}
		m, err := readMark(ctx, js, n, l.Name())
		if err != nil {
			return nil, err
		}
		if m == nil || !m.Accepted.IsZero() {
			continue
		}
		if l.epoch, err = readable(ctx, js, n, l); err == nil {
			continue
		}
		if !errors.Is(err, ErrLogLost) {
			return nil, err
		}
		l.Why, l.epoch = err.Error(), max(l.epoch, m.Epoch)
		lost = append(lost, l)
	}
	return lost, nil
}

// readable returns an error of ErrLogLost if a log has no record, or its snapshot is not
// there; and the epoch of its last record.
func readable(ctx context.Context, js jetstream.JetStream, n events.Names, l LostLog) (uint64, error) {
	s, err := js.Stream(ctx, n.Stream(events.StreamState))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("%w: there is no stream %s", ErrLogLost, n.Stream(events.StreamState))
	}
	if err != nil {
		return 0, err
	}
	subject := n.Log(l.Role, l.Partition)
	last, err := lastOf(ctx, s, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, fmt.Errorf("%w: %s has no records", ErrLogLost, subject)
	}
	if err != nil {
		return 0, err
	}
	m, _, err := decodeRecord(last.Data)
	at := m.Manifest
	if m.Kind == kindManifest {
		at = last.Sequence
	}
	if err != nil || at == 0 {
		return m.Epoch, err
	}
	raw, err := s.GetMsg(ctx, at)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m.Epoch, fmt.Errorf("%w: the manifest of its snapshot, at %d, is gone", ErrLogLost, at)
	}
	if err != nil {
		return m.Epoch, err
	}
	manifest, _, err := decodeRecord(raw.Data)
	if err != nil {
		return m.Epoch, err
	}
	for part := range manifest.Parts {
		_, err := lastOf(ctx, s, fmt.Sprintf("%s.%s.%d", n.Snap(l.Role, l.Partition), manifest.Generation, part))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return m.Epoch, fmt.Errorf("%w: part %d of its snapshot %s is gone", ErrLogLost, part, manifest.Generation)
		}
		if err != nil {
			return m.Epoch, err
		}
	}
	return m.Epoch, nil
}

// Recover accepts that a log is lost: it deletes what is left of it, and the next owner
// begins at the start of its inputs. What it finds there causes no mail.
func Recover(ctx context.Context, js jetstream.JetStream, n events.Names, l LostLog, now time.Time) error {
	s, err := js.Stream(ctx, n.Stream(events.StreamState))
	if err != nil {
		return err
	}
	m, err := readMark(ctx, js, n, l.Name())
	if err != nil {
		return err
	}
	if m == nil {
		m = &mark{}
	}
	for _, subject := range []string{n.Log(l.Role, l.Partition), n.Snap(l.Role, l.Partition) + ".>"} {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("deleting what is left of %s: %w", subject, err)
		}
	}
	m.Epoch, m.Accepted = max(m.Epoch, l.epoch), now.UTC()
	return writeMark(ctx, js, n, l.Name(), *m)
}
