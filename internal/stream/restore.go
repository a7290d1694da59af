package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
)

// restorer brings a Log and its Processor to the last whole commit.
type restorer struct {
	*Log
	p     Processor
	parts [][]byte // of a commit whose last part has not come yet
	read  uint64   // sequence of the last record that was read
}

// resetAttempts is how often the library makes a consumer again. Reading from the
// beginning, with a consumer of another name, is better: see feed.
const resetAttempts = 1

// errLogChanged is returned when records were purged while they were read. The
// restorer then begins again.
var errLogChanged = errors.New("log changed while it was read")

// The attempts to read a log that changes meanwhile. An owner purges rarely.
const (
	restoreAttempts = 20
	restorePause    = 100 * time.Millisecond
)

func (r *restorer) restore(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := r.restoreOnce(ctx)
		if !errors.Is(err, errLogChanged) {
			return err
		}
		if attempt == restoreAttempts {
			return fmt.Errorf("%w: what %s needs of %s is not there", ErrLogLost, r.subject, r.name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(restorePause):
		}
	}
}

func (r *restorer) restoreOnce(ctx context.Context) error {
	r.epoch, r.number, r.positions, r.manifest, r.size, r.parts, r.read, r.lastPart = 0, 0, nil, manifestAt{}, 0, nil, 0, 0
	r.dead, r.careful, r.losses, r.restored, r.recovered, r.since = nil, nil, nil, "", time.Time{}, time.Time{}
	last, err := lastOf(ctx, r.stream, r.subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return r.load(nil)
	}
	if err != nil {
		return fmt.Errorf("last record of %s: %w", r.subject, err)
	}
	m, _, err := r.decode(last)
	if err != nil {
		return err
	}
	at := m.Manifest
	if m.Kind == kindManifest {
		at = last.Sequence
	}
	if at == 0 {
		if err := r.load(nil); err != nil {
			return err
		}
		return r.readRest(ctx)
	}
	raw, err := Retry(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return r.stream.GetMsg(ctx, at) })
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return errLogChanged
	}
	if err != nil {
		return err
	}
	if m, _, err = r.decode(raw); err != nil {
		return err
	}
	snapshot, err := r.snapshot(ctx, m)
	if err != nil {
		return err
	}
	r.manifest, r.since = manifestAt{meta: m, seq: at}, raw.Time
	r.epoch, r.number, r.positions, r.read, r.lastPart = m.Epoch, m.Number, m.Positions, m.After, m.After
	r.dead, r.careful, r.losses, r.restored, r.recovered = m.Dead, m.Careful, m.Losses, m.Restored, m.Recovered
	timed(r.positions, raw.Time)
	if err := r.load(snapshot); err != nil {
		return fmt.Errorf("snapshot %s of %s: %w", m.Generation, r.subject, err)
	}
	return r.readRest(ctx)
}

// decode reads a record that a direct get has returned.
func (r *restorer) decode(raw *jetstream.RawStreamMsg) (meta, []byte, error) {
	if err := r.genuine(raw.Header, 1, raw.Sequence); err != nil {
		return meta{}, nil, err
	}
	m, payload, err := decodeRecord(raw.Data)
	if err != nil {
		err = fmt.Errorf("%s at %d: %w", r.subject, raw.Sequence, err)
	}
	return m, payload, err
}

// genuine returns an error for what no owner wrote. It ends the takeover: to go on
// without it would need a judgement of what came after.
func (r *restorer) genuine(header map[string][]string, times int, seq uint64) error {
	if err := records.RefuseAnswer(header, times); err != nil {
		return fmt.Errorf("%s at %d: %w; then delete it (nats stream rmm %s %d)", r.subject, seq, err, r.name, seq)
	}
	return nil
}

// load gives the Processor a snapshot. A panic of it is an error: the partition
// cannot be owned, and the process goes on with the others.
func (r *restorer) load(snapshot []byte) error {
	return guard.Do(func() error { return r.p.Restore(snapshot) })
}

func (r *restorer) snapshot(ctx context.Context, m meta) ([]byte, error) {
	data := make([]byte, 0, m.Size)
	for part := range m.Parts {
		raw, err := lastOf(ctx, r.stream, r.part(m.Generation, part))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, errLogChanged
		}
		if err != nil {
			return nil, err
		}
		if err := r.genuine(raw.Header, 1, raw.Sequence); err != nil {
			return nil, err
		}
		data = append(data, raw.Data...)
	}
	if len(data) != m.Size {
		return nil, fmt.Errorf("snapshot %s of %s has %d bytes, its manifest says %d", m.Generation, r.subject, len(data), m.Size)
	}
	return data, nil
}

func (l *Log) part(generation string, part int) string {
	return l.snap + "." + generation + "." + strconv.Itoa(part)
}

// readRest reads and applies the records after r.read.
func (r *restorer) readRest(ctx context.Context) error {
	last, err := lastOf(ctx, r.stream, r.subject)
	if err != nil {
		return err
	}
	r.last = last.Sequence
	if r.read >= last.Sequence {
		return nil
	}
	cons, err := r.js.OrderedConsumer(ctx, r.name, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{r.subject}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.read + 1,
		InactiveThreshold: 30 * time.Second, MaxResetAttempts: resetAttempts,
	})
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(500, 16<<20), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return err
	}
	defer it.Stop()
	for r.read < r.last {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("reading %s: %w", r.subject, err)
		}
		md, err := msg.Metadata()
		if err != nil {
			return err
		}
		if err := r.genuine(msg.Headers(), 0, md.Sequence.Stream); err != nil {
			return err
		}
		if err := r.apply(msg.Data(), md.Sequence.Stream, md.Timestamp); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) apply(data []byte, seq uint64, stored time.Time) error {
	m, payload, err := decodeRecord(data)
	if err != nil {
		return fmt.Errorf("%s at %d: %w", r.subject, seq, err)
	}
	timed(m.Positions, stored)
	r.read, r.restored, r.recovered = seq, m.Restored, m.Recovered
	if r.since.IsZero() {
		r.since = stored
	}
	switch m.Kind {
	case kindEpoch:
		r.epoch, r.parts = m.Epoch, nil // parts of a commit without its last part do not count
		return nil
	case kindManifest:
		r.manifest, r.size, r.since = manifestAt{meta: m, seq: seq}, 0, stored
		return nil
	}
	if m.Number <= r.number {
		return nil
	}
	if m.Number != r.number+1 || m.Part != len(r.parts) {
		return errLogChanged
	}
	r.parts = append(r.parts, payload)
	if !m.Last {
		return nil
	}
	whole := payload
	if len(r.parts) > 1 {
		whole = nil
		for _, p := range r.parts {
			whole = append(whole, p...)
		}
	}
	r.parts, r.number, r.positions, r.lastPart = nil, m.Number, m.Positions, seq
	r.size += len(whole)
	r.noted(m)
	if len(whole) == 0 {
		return nil
	}
	if err := guard.Do(func() error { return r.p.Apply(whole) }); err != nil {
		return fmt.Errorf("commit %d of %s: %w", m.Number, r.subject, err)
	}
	return nil
}

// ReadLog gives p the state of a partition as of its last whole commit, without
// taking the partition over, and returns the positions of that commit, and what is
// dead. Who derives the state from the inputs must leave that out.
func ReadLog(ctx context.Context, js jetstream.JetStream, n events.Names, role string, partition int, p Processor) ([]Position, DeadParts, error) {
	name := n.Stream(events.StreamState)
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, nil, fmt.Errorf("stream %s: %w", name, err)
	}
	r := restorer{p: p, Log: &Log{js: js, stream: s, name: name, subject: n.Log(role, partition), snap: n.Snap(role, partition)}}
	err = r.restore(ctx)
	return r.positions, stillDead(r.dead, r.losses), err
}

// Newest returns the sequence of the last message that is stored for an input, or
// 0 when there is none.
func Newest(ctx context.Context, js jetstream.JetStream, n events.Names, in Input) (uint64, error) {
	s, err := js.Stream(ctx, n.Stream(in.Stream))
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", n.Stream(in.Stream), err)
	}
	return (&reader{stream: s, filters: in.Filters}).newest(ctx)
}

// Read calls f with the messages of an input in order, up to the sequence last. It passes
// over those that Run refuses as answers of the server.
func Read(ctx context.Context, js jetstream.JetStream, n events.Names, in Input, last uint64, f func(*Message) error) error {
	s, err := js.Stream(ctx, n.Stream(in.Stream))
	if err != nil {
		return fmt.Errorf("stream %s: %w", n.Stream(in.Stream), err)
	}
	newest, err := (&reader{stream: s, filters: in.Filters}).newest(ctx)
	if err != nil {
		return err
	}
	if newest = min(newest, last); newest == 0 || newest < s.CachedInfo().State.FirstSeq {
		return nil
	}
	return readUpTo(ctx, s, jetstream.OrderedConsumerConfig{FilterSubjects: in.Filters}, newest, f)
}

// readUpTo calls f with the messages of a consumer in order, up to the sequence
// last. The consumer must have a message there or behind.
func readUpTo(ctx context.Context, s jetstream.Stream, cfg jetstream.OrderedConsumerConfig, last uint64, f func(*Message) error) error {
	cfg.MaxResetAttempts = resetAttempts
	cons, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(10_000, 16<<20), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("reading %s: %w", cfg.FilterSubjects, err)
		}
		md, err := msg.Metadata()
		if err != nil {
			return err
		}
		if md.Sequence.Stream > last {
			return nil
		}
		m := Message{Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(), Seq: md.Sequence.Stream, Time: md.Timestamp.UTC()}
		if records.RefuseAnswer(m.Header, 0) == nil {
			if err := f(&m); err != nil {
				return err
			}
		}
		if md.Sequence.Stream == last {
			return nil
		}
	}
}

// Committed returns the positions in the last record of a partition's log,
// without reading the state. It returns nil while a commit of several parts is
// being written.
func Committed(ctx context.Context, js jetstream.JetStream, n events.Names, role string, partition int) ([]Position, error) {
	s, err := js.Stream(ctx, n.Stream(events.StreamState))
	if err != nil {
		return nil, err
	}
	raw, err := lastOf(ctx, s, n.Log(role, partition))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, _, err := decodeRecord(raw.Data)
	if m.Kind == kindCommit && !m.Last {
		return nil, err
	}
	return m.Positions, err
}
