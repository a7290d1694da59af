package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotWritten is returned when AUDIT did not take the entries. The change must not be
// made.
var ErrNotWritten = errors.New("the audit log cannot take the entry now")

const (
	writeTimeout  = 5 * time.Second
	writeTimeEach = time.Millisecond // in addition, for each entry of many
	resultTimeout = 2 * time.Second
)

// Write stores entries, which must have IDs, and returns after all were acknowledged.
// After an error none of the changes must be made; entries that were stored are marked
// as failed, as far as the stream takes that.
func (l *Log) Write(ctx context.Context, entries []Entry) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout+time.Duration(len(entries))*writeTimeEach)
	defer cancel()
	details, err := l.writeDetails(ctx, entries)
	if err != nil {
		return err
	}
	msgs := make([]*nats.Msg, len(entries))
	for i := range entries {
		r := record{Format: format, Entry: entries[i], Detail: details[i]}
		if r.erasable() {
			r.Before, r.After, r.Reason = nil, nil, ""
		}
		if msgs[i], err = l.message(kindEntry, r.token(), r); err != nil {
			return err
		}
	}
	seqs, err := l.publish(ctx, msgs)
	if err != nil {
		var stored []Outcome
		for i, seq := range seqs {
			if seq > 0 {
				stored = append(stored, Outcome{Entry: entries[i], Result: Failed})
			}
		}
		l.Mark(ctx, stored)
		return err
	}
	for i := range entries {
		l.line(&entries[i])
	}
	return nil
}

// line repeats an entry in the log: without what can be erased of it.
func (l *Log) line(e *Entry) {
	attrs := []any{slog.String("id", e.ID), slog.String("actor", e.Actor), slog.String("action", string(e.Action))}
	if e.Customer != "" {
		attrs = append(attrs, slog.String("customer", e.Customer))
	}
	if e.Feature != "" {
		attrs = append(attrs, slog.String("feature", e.Feature))
	}
	l.log.Info("audit", attrs...)
}

// writeDetails stores what can be erased, and returns the sequences by entry.
func (l *Log) writeDetails(ctx context.Context, entries []Entry) ([]uint64, error) {
	details := make([]uint64, len(entries))
	var msgs []*nats.Msg
	var of []int
	for i := range entries {
		e := &entries[i]
		if !e.erasable() || e.Before == nil && e.After == nil && e.Reason == "" {
			continue
		}
		m, err := l.message(kindDetail, e.token(), detail{Format: format, ID: e.ID, Before: e.Before, After: e.After, Reason: e.Reason})
		if err != nil {
			return nil, err
		}
		msgs, of = append(msgs, m), append(of, i)
	}
	seqs, err := l.publish(ctx, msgs)
	for n, i := range of {
		details[i] = seqs[n]
	}
	return details, err
}

func (l *Log) message(kind, token string, v any) (*nats.Msg, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding an audit record: %w", err)
	}
	return &nats.Msg{Subject: l.names.Audit(kind, token), Data: b}, nil
}

// publish stores messages, many in flight at a time, and returns their sequences. After
// an error, those that were not stored for certain have 0.
func (l *Log) publish(ctx context.Context, msgs []*nats.Msg) ([]uint64, error) {
	seqs := make([]uint64, len(msgs))
	futures := make([]jetstream.PubAckFuture, 0, len(msgs))
	var failed error
	for _, m := range msgs {
		f, err := l.js.PublishMsgAsync(m, jetstream.WithStallWait(writeTimeout))
		if err != nil {
			failed = err
			break
		}
		futures = append(futures, f)
	}
	for i, f := range futures {
		select {
		case ack := <-f.Ok():
			seqs[i] = ack.Sequence
		case err := <-f.Err():
			failed = err
		case <-ctx.Done():
			return seqs, fmt.Errorf("%w: %w", ErrNotWritten, ctx.Err())
		}
	}
	if failed != nil {
		return seqs, fmt.Errorf("%w: %w", ErrNotWritten, failed)
	}
	return seqs, nil
}

// Outcome says what became of the change of an entry, and so of all with its ID.
type Outcome struct {
	Entry  Entry
	Result Result
}

// Mark stores what became of changes that did not simply happen. It waits a moment for
// the stream, also when ctx has ended. Without a mark, the entry's ID still tells: no
// message of the change's stream has it.
func (l *Log) Mark(ctx context.Context, outcomes []Outcome) {
	if len(outcomes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resultTimeout)
	defer cancel()
	var msgs []*nats.Msg
	for _, o := range outcomes {
		m, err := l.message(kindResult, o.Entry.token(), result{Format: format, ID: o.Entry.ID, Result: o.Result})
		if err != nil {
			l.log.Error("audit_result_not_written", slog.Any("error", err))
			continue
		}
		msgs = append(msgs, m)
	}
	if _, err := l.publish(ctx, msgs); err != nil {
		ids := make([]string, 0, min(len(outcomes), 10))
		for _, o := range outcomes[:cap(ids)] {
			ids = append(ids, o.Entry.ID)
		}
		l.log.Error("audit_result_not_written", slog.Int("count", len(outcomes)), slog.Any("ids", ids), slog.Any("error", err))
	}
}

// ResultOf says what an error of publishing means for the change.
func ResultOf(err error) Result {
	var refused *jetstream.APIError
	if errors.As(err, &refused) || errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
		return Failed
	}
	return Unknown
}

// Erase removes before, after and reason from the entries about a customer. The entries
// stay, with who did what and when, and the reasons of erasures.
func (l *Log) Erase(ctx context.Context, customer string) error {
	s, err := l.js.Stream(ctx, l.stream())
	if err == nil {
		about := Entry{Customer: customer}
		err = s.Purge(ctx, jetstream.WithPurgeSubject(l.names.Audit(kindDetail, about.token())))
	}
	if err != nil {
		return fmt.Errorf("erasing from the audit log: %w", err)
	}
	return nil
}

// Keep sets how long entries are kept.
func (l *Log) Keep(ctx context.Context, age time.Duration) error {
	s, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return err
	}
	cfg := s.CachedInfo().Config
	if cfg.MaxAge == age {
		return nil
	}
	cfg.MaxAge = age
	_, err = l.js.UpdateStream(ctx, cfg)
	return err
}
