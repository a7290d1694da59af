package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// Anchors are records in the logs of all partitions: of each, the newest manifest, or the
// first record if there is none. While they are there, so is everything that a reader of
// the logs needs.
type Anchors struct {
	stream jetstream.Stream
	seqs   []uint64
}

// AnchorLogs returns the anchors of the logs as they are now.
func AnchorLogs(ctx context.Context, js jetstream.JetStream, n events.Names) (*Anchors, error) {
	s, err := js.Stream(ctx, n.Stream(events.StreamState))
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(n.Subject("state.*.*.log")))
	if err != nil {
		return nil, err
	}
	a := &Anchors{stream: s}
	for subject := range info.State.Subjects {
		at, err := anchorOf(ctx, s, subject)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", subject, err)
		}
		a.seqs = append(a.seqs, at)
	}
	return a, nil
}

func anchorOf(ctx context.Context, s jetstream.Stream, subject string) (uint64, error) {
	last, err := lastOf(ctx, s, subject)
	if err != nil {
		return 0, fmt.Errorf("last record: %w", err)
	}
	m, _, err := decodeRecord(last.Data)
	switch {
	case err != nil:
		return 0, fmt.Errorf("record at %d: %w", last.Sequence, err)
	case m.Kind == kindManifest:
		return last.Sequence, nil
	case m.Manifest != 0:
		return m.Manifest, nil
	}
	first, err := Retry(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
	})
	if err != nil {
		return 0, fmt.Errorf("first record: %w", err)
	}
	return first.Sequence, nil
}

// Moved reports whether one of the anchors is gone. It is safe to call for nil, of which
// none is.
func (a *Anchors) Moved(ctx context.Context) (bool, error) {
	if a == nil {
		return false, nil
	}
	for _, seq := range a.seqs {
		_, err := Retry(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return a.stream.GetMsg(ctx, seq) })
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}
