package notifier

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// own runs the notifier as a process does, until the returned function is called.
func own(t *testing.T, env stream.Env, b *bench) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := stream.NewSupervisor(env)
	s.Go(ctx, Spec(env.Names), func() stream.Processor {
		p, err := New(b.options)
		if err != nil {
			t.Error(err)
		}
		return p
	})
	return func() { cancel(); s.Wait() }
}

// The whole way on a real server: records of any partition, a restart that goes
// on where it was, and what can't be processed in the dead letters.
func TestOnStreams(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.halt()
	b.options.Partitions = 4 // acme belongs to the last one
	b.block("api")
	nc := testnats.Start(t).Connect(t)
	js, err := stream.JetStream(nc)
	b.must(err)
	names := events.Names{Namespace: "acme"}
	_, err = stream.Ensure(t.Context(), js, stream.Layout{Names: names, Partitions: 4})
	b.must(err)
	publish := func(subject string, v any) {
		t.Helper()
		data, err := json.Marshal(v)
		b.must(err)
		_, err = js.Publish(t.Context(), subject, data)
		b.must(err)
	}
	env := stream.Env{NC: nc, JS: js, Names: names, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: b.clock, CommitEvery: 10 * time.Millisecond}

	stop := own(t, env, b)
	l := b.reached("api")
	key := Key(l.Kind, 100, l.Customer, l.Feature, l.WindowStart)
	publish(names.Limits(3), "nonsense")
	publish(names.Limits(3), l)
	b.untilState(key, records.MailWaiting)
	stop()

	publish(names.Account(1), records.Account{Customer: "acme", Email: new("eve@acme.example")}) // another customer's partition
	publish(names.Account(3), records.Account{Customer: "acme", Email: new("ada@acme.example")})
	stop = own(t, env, b)
	defer func() { stop() }()
	if n := b.untilState(key, records.MailSent); n.To != "ada@acme.example" {
		t.Errorf("sent to %s", n.To)
	}
	publish(names.Limits(2), l) // a repeat
	l.Feature = "exports"
	b.block("exports")
	publish(names.Limits(2), l)
	b.untilState(Key(l.Kind, 100, l.Customer, l.Feature, l.WindowStart), records.MailSent)
	if requests, mails := b.resend.counts(); requests != 2 || mails != 2 {
		t.Errorf("%d requests, %d mails", requests, mails)
	}
	dead, err := js.Stream(t.Context(), names.Stream(events.StreamDead))
	b.must(err)
	m, err := dead.GetLastMsgForSubject(t.Context(), names.Dead(0))
	b.must(err)
	var d records.Dead
	b.must(json.Unmarshal(m.Data, &d))
	if d.Origin != "LIMITS/1/0" || string(d.Body) != `"nonsense"` || d.Reason == "" {
		t.Errorf("dead letter %+v", d)
	}
	if info, err := dead.Info(t.Context(), jetstream.WithSubjectFilter(">")); err != nil || info.State.Msgs != 1 {
		t.Errorf("%d dead letters, %v", info.State.Msgs, err)
	}
}
