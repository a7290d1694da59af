package stream

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// picky rejects messages: all of "bad", and of "half" the second part.
type picky struct{ *tally }

func (p picky) Handle(m *Message) error {
	err := p.tally.Handle(m)
	switch string(m.Data) {
	case "bad":
		return Reject(errors.New("it is bad"))
	case "half":
		return p.o.Reject(m, 1, []byte("lf"), errors.New("it is half"))
	}
	return err
}

// dead returns the dead letters, by origin.
func (b *bench) dead(t *testing.T) map[string][]records.Dead {
	t.Helper()
	all := map[string][]records.Dead{}
	err := Read(t.Context(), b.env.JS, b.env.Names, Input{Stream: events.StreamDead, Filters: []string{"dead.0"}}, ^uint64(0), func(m *Message) error {
		var d records.Dead
		err := json.Unmarshal(m.Data, &d)
		all[d.Origin] = append(all[d.Origin], d)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// crash runs an owner that handles n messages and ends without a commit.
func (b *bench) crash(t *testing.T, n uint64) {
	t.Helper()
	env := b.env
	env.CommitEvery = time.Hour
	p, lost, done := picky{newTally()}, make(chan struct{}), make(chan error, 1)
	go func() { done <- Run(t.Context(), env, accountInput, p, lost, func() {}) }()
	for <-p.handled < n {
	}
	if err := p.o.out.drain(); err != nil { // the letters are stored
		t.Error(err)
	}
	close(lost)
	if err := <-done; !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
}

func (b *bench) publishText(t *testing.T, subject, text string) {
	t.Helper()
	if _, err := b.env.JS.Publish(t.Context(), subject, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// TestACrashLeavesOneDeadLetter also when the server has forgotten the letter's
// id before the partition is taken over.
func TestACrashLeavesOneDeadLetter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.setDead(t, func(cfg *jetstream.StreamConfig) { cfg.Duplicates = 100 * time.Millisecond })
	for _, text := range []string{"bad", "good", "half", "bad", "good"} {
		b.publishText(t, "account.0", text)
	}
	b.crash(t, 5)
	b.forget(t)
	b.crash(t, 5)
	b.forget(t)
	p := picky{newTally()}
	stop := b.start(t, p)
	b.publishText(t, "account.0", "bad") // after the takeover
	for <-p.handled < 6 {
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	dead := b.dead(t)
	for origin, want := range map[string]records.Dead{
		"ACCOUNT/1/0": {Reason: "it is bad", Body: []byte("bad")},
		"ACCOUNT/3/1": {Reason: "it is half", Body: []byte("lf")},
		"ACCOUNT/4/0": {Reason: "it is bad", Body: []byte("bad")},
		"ACCOUNT/6/0": {Reason: "it is bad", Body: []byte("bad")},
	} {
		got := dead[origin]
		if len(got) != 1 || got[0].Reason != want.Reason || string(got[0].Body) != string(want.Body) || got[0].At.IsZero() {
			t.Errorf("%s: %+v, want one of %+v", origin, got, want)
		}
	}
	if len(dead) != 4 {
		t.Errorf("dead letters: %v", dead)
	}
}

// setDead changes the configuration of DEAD.
func (b *bench) setDead(t *testing.T, set func(*jetstream.StreamConfig)) {
	t.Helper()
	s, err := b.env.JS.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	set(&cfg)
	if _, err := b.env.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// forget waits until the server has forgotten the ids of dead letters.
func (b *bench) forget(t *testing.T) {
	t.Helper()
	for {
		ack, err := b.env.JS.Publish(t.Context(), "dead.9", []byte("probe"), jetstream.WithMsgID("probe"))
		if err != nil {
			t.Fatal(err)
		}
		if ack.Sequence > 1 && !ack.Duplicate {
			return
		}
	}
}

// TestAStaleOwnersLetterIsNotRepeated: both owners read the message, the old one
// cannot commit.
func TestAStaleOwnersLetterIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old, ctx := picky{newTally()}, t.Context()
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- Run(ctx, b.env, accountInput, old, nil, func() { close(ready) }) }()
	<-ready
	stop := b.start(t, picky{newTally()})
	b.publishText(t, "account.0", "bad")
	if err := <-done; !errors.Is(err, ErrFenced) {
		t.Fatal(err)
	}
	if _, err := countQuestion.Ask(context.Background(), b.asker(), 0, None{}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if dead := b.dead(t); len(dead) != 1 || len(dead["ACCOUNT/1/0"]) != 1 {
		t.Errorf("dead letters: %v", dead)
	}
}
