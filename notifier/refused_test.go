package notifier

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
	"github.com/tidegate-io/tidegate/internal/store/kv"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// TestARecordThatNoStoreTakesStopsNoMail: the embedded store has no document with a key
// of 3,700 bytes, or of the year 10,000, and validation lets both pass.
func TestARecordThatNoStoreTakesStopsNoMail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.halt()
	b.block("api")
	nc := testnats.Start(t).Connect(t)
	js, err := stream.JetStream(nc)
	b.must(err)
	_, err = stream.Ensure(t.Context(), js, stream.Layout{Partitions: 1})
	b.must(err)
	documents, err := kv.Open(t.Context(), js, events.Names{}, 1)
	b.must(err)
	b.options.Store, b.options.Partitions = documents, 1
	names := events.Names{}
	publish := func(subject, record string) {
		t.Helper()
		_, err := js.Publish(t.Context(), subject, []byte(record))
		b.must(err)
	}
	publish(names.Account(0), `{"customer":"fz","payment":{}}`) // the enforcer writes its letter
	publish(names.Account(0), `{"customer":"`+strings.Repeat("é", 128)+`","payment":{"key":"`+strings.Repeat("é", 500)+`","at":"2026-03-01T12:00:00Z"}}`)
	publish(names.Limits(0), `{"kind":"reached","customer":"fz","feature":"api","limit":5,"used":5,"window_start":"9999-12-31T23:59:59-12:00","at":"2026-03-01T12:00:00Z"}`)
	publish(names.Account(0), `{"customer":"acme","email":"ada@acme.example"}`)
	l := b.reached("api")
	publish(names.Limits(0), string(b.message(inputLimits, l).Data))
	env := stream.Env{NC: nc, JS: js, Holder: "test", Log: slog.New(slog.DiscardHandler), Now: b.clock, CommitEvery: 10 * time.Millisecond}
	defer own(t, env, b)()
	key := Key(l.Kind, 100, l.Customer, l.Feature, l.WindowStart)
	deadline := time.After(30 * time.Second)
	for {
		n, ok, err := documents.Notification(t.Context(), key)
		b.must(err)
		if ok && n.State == records.MailSent {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("the mail of a good customer is %q", n.State)
		case <-time.After(5 * time.Millisecond):
		}
	}
	letters := 0
	b.must(stream.Read(t.Context(), js, names, stream.Input{Stream: events.StreamDead, Filters: []string{"dead.0"}}, ^uint64(0), func(*stream.Message) error {
		letters++
		return nil
	}))
	if letters != 2 {
		t.Errorf("%d dead letters, want 2", letters)
	}
}

// hostileSender panics at the mails of one feature.
type hostileSender struct {
	Sender
	text string
}

func (s hostileSender) Send(ctx context.Context, m Mail) (string, error) {
	if strings.Contains(string(m.Body), s.text) {
		panic("at a mail")
	}
	return s.Sender.Send(ctx, m)
}

// TestAMailThatCanNeverGoOutEndsAlone whatever is wrong with it. It is the first of the
// due ones, so it must not hold up the one behind it.
func TestAMailThatCanNeverGoOutEndsAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Options)
		broken func(b *bench, key string)
		state  records.MailState
	}{
		"the store refuses its text": {broken: func(b *bench, key string) {
			b.store.refuse = func(n *records.Notification) bool { return n.Key == key && n.Body != nil }
		}, state: records.MailFailed},
		"the store refuses everything about it": {broken: func(b *bench, key string) {
			b.store.refuse = func(n *records.Notification) bool { return n.Key == key }
		}, state: records.MailPending},
		"sending it panics": {change: func(o *Options) {
			o.Sender = hostileSender{o.Sender, "The free calls are used up."}
		}, state: records.MailUncertain},
		"its decision cannot be read": {broken: func(b *bench, _ string) {
			b.decisions.spoil(events.DecisionKey("acme", "api"))
		}, state: records.MailPending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var change []func(*Options)
			if c.change != nil {
				change = append(change, c.change)
			}
			b := newBench(t, change...)
			b.address()
			l := b.reached("api")
			key := Key(l.Kind, 100, l.Customer, l.Feature, l.WindowStart)
			if c.broken != nil {
				c.broken(b, key)
			}
			b.reach("api")
			b.advance(time.Second)
			b.untilState(b.reach("exports"), records.MailSent)
			n := b.untilState(key, c.state)
			if final := n.State != records.MailPending; final && (n.Error == "" || n.Body != nil) {
				t.Errorf("document %+v", n)
			}
			if name != "its decision cannot be read" && b.reports.of(key) == 0 {
				t.Error("nobody is told")
			}
			b.advance(time.Hour)
			b.commit()
			b.restart()
			b.untilState(b.reach("warned"), records.MailSent)
		})
	}
}

var errUnreadable = errors.New("a decision that cannot be read")

// spoil makes a decision unreadable.
func (d *table) spoil(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spoiled = key
}

// refused returns the error of a store that can never hold n, or nil.
func (s *memory) refused(n *records.Notification) error {
	if s.refuse != nil && s.refuse(n) {
		return store.Refuse(n.Key, errors.New("it has a forbidden field"))
	}
	return nil
}
