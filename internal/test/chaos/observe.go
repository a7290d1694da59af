package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// observe reads the current state of the installation.
func (in *installation) observe(ctx context.Context, customers []Customer) (*Observed, error) {
	o := &Observed{Since: in.since, Now: time.Now()}
	for _, look := range []func() error{
		func() error { return in.observeUsage(ctx, o) },
		func() error { return in.observeWindows(ctx, o, customers) },
		func() error { return in.observeDocuments(ctx, o, customers) },
		func() error { return in.observeDecisions(ctx, o) },
		func() error { return in.observeDead(ctx, o) },
		func() error { return in.observeMails(o) },
		func() error { return in.observeSnapshots(ctx, o) },
	} {
		if err := look(); err != nil {
			return nil, err
		}
	}
	for _, c := range customers {
		for _, g := range gates {
			o.Checks = append(o.Checks, in.reader.Check(c.ID, g.Feature))
		}
	}
	return o, nil
}

// read calls f with every message of a stream.
func (in *installation) read(ctx context.Context, name string, f func(jetstream.Msg, uint64) error) error {
	s, err := in.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullHeartbeat(time.Second)) // the consumer is lost with its server
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextMaxWait(20 * time.Second))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if err := f(m, meta.Sequence.Stream); err != nil {
			return err
		}
		if meta.Sequence.Stream >= state.LastSeq {
			return nil
		}
	}
}

func (in *installation) observeUsage(ctx context.Context, o *Observed) error {
	return in.read(ctx, in.names.Stream(events.StreamUsage), func(m jetstream.Msg, seq uint64) error {
		meta, err := m.Metadata()
		if err != nil || strings.HasSuffix(m.Subject(), "."+events.ControlToken) {
			return err
		}
		note := func(i int, e *events.Event) {
			o.Stored = append(o.Stored, newCopy(fmt.Sprintf("%s/%d/%d", events.StreamUsage, seq, i), meta.Timestamp.UTC(), e))
		}
		if m.Headers().Get(events.ContentTypeHeader) == events.ContentTypeBatch {
			return events.EachInBatch(m.Data(), func(i int, e events.Event, _ []byte, _ error) { note(i, &e) })
		}
		e, err := events.Decode(m.Data())
		note(0, &e)
		return err
	})
}

// ask asks the owner of a customer's partition a question. The owner first applies all
// that was stored before.
func ask[Resp any](ctx context.Context, in *installation, q stream.Question[string, Resp], customer string) (Resp, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return q.Ask(ctx, stream.Asker{NC: in.direct, Names: in.names}, events.PartitionOf(customer, partitions), customer)
}

func (in *installation) observeWindows(ctx context.Context, o *Observed, customers []Customer) error {
	for _, c := range customers {
		answer, err := ask(ctx, in, questions.UsageOf, c.ID)
		if err != nil {
			return err
		}
		o.Windows = append(o.Windows, answer.Windows...)
	}
	return nil
}

func (in *installation) observeDecisions(ctx context.Context, o *Observed) error {
	prefix := "$KV." + in.names.Bucket(events.BucketDecisions) + "."
	return in.read(ctx, "KV_"+in.names.Bucket(events.BucketDecisions), func(m jetstream.Msg, seq uint64) error {
		key := strings.TrimPrefix(m.Subject(), prefix)
		if key == events.GatesKey || strings.HasPrefix(key, "=own.") {
			return nil
		}
		p := Put{Seq: seq, Key: key}
		err := json.Unmarshal(m.Data(), &p.Decision)
		o.Puts = append(o.Puts, p)
		return err
	})
}

func (in *installation) observeDead(ctx context.Context, o *Observed) error {
	return in.read(ctx, in.names.Stream(events.StreamDead), func(m jetstream.Msg, _ uint64) error {
		var d records.Dead
		err := json.Unmarshal(m.Data(), &d)
		o.Dead = append(o.Dead, d)
		return err
	})
}

func (in *installation) observeMails(o *Observed) (err error) {
	o.Mails, o.Wrong, err = in.mails.mails()
	return err
}

func (in *installation) observeSnapshots(ctx context.Context, o *Observed) error {
	return in.read(ctx, in.names.Stream(events.StreamState), func(m jetstream.Msg, _ uint64) error {
		if line, _, _ := bytes.Cut(m.Data(), []byte{'\n'}); strings.HasSuffix(m.Subject(), ".log") && bytes.Contains(line, []byte(`"kind":"manifest"`)) {
			o.Snapshots++
		}
		return nil
	})
}
