package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// brittle counts words, of which a message holds some, separated by commas. Some words
// make it panic or return an error in one of its methods, and Handle then leaves half
// of a change behind.
type brittle struct {
	Counts map[string]int
	Half   int // more than 0 in the middle of a change

	o    *Owner
	part int
	boom string // the method that panics next
}

func newBrittle() *brittle { return &brittle{Counts: map[string]int{}, part: -1} }

func (b *brittle) Restore(snapshot []byte) error {
	b.Counts = map[string]int{}
	if snapshot == nil {
		return nil
	}
	return json.Unmarshal(snapshot, b)
}
func (b *brittle) Apply(commit []byte) error { return b.Restore(commit) }

var countsQuestion = Question[None, map[string]int]{Role: "brittle", Kind: "counts", Fresh: true}

func (b *brittle) Start(_ context.Context, o *Owner) error {
	b.o = o
	Answer(o, countsQuestion, func(None) (map[string]int, error) { return b.Counts, nil })
	return nil
}

func (b *brittle) Part() int { return b.part }

func (b *brittle) Handle(m *Message) error {
	b.Half++
	if strings.HasPrefix(string(m.Data), "whole") {
		b.part = -1
		panic("of the whole message")
	}
	for i, word := range strings.Split(string(m.Data), ",") {
		b.part = i
		if why, dead := m.Dead[i]; dead {
			if err := b.o.Reject(m, i, []byte(word), errors.New(why)); err != nil {
				return err
			}
			continue
		}
		b.Counts[word]++
		switch word {
		case "panic":
			noMap()[0]++
		case "error":
			return errors.New("nobody can handle it")
		case "reject":
			b.Counts[word]--
			if err := b.o.Reject(m, i, []byte(word), errors.New("it is rejected")); err != nil {
				return err
			}
		case "flush", "tick", "commit":
			b.boom = word
		}
	}
	b.part = -1
	b.Half--
	return nil
}

func (b *brittle) explode(method string) {
	if b.boom == method {
		b.Half++
		panic("in " + method)
	}
}

func (b *brittle) Flush() error                      { b.explode("flush"); return nil }
func (b *brittle) Tick(time.Time) (time.Time, error) { b.explode("tick"); return time.Time{}, nil }
func (b *brittle) Commit() ([]byte, error)           { b.explode("commit"); return json.Marshal(b) }
func (b *brittle) Snapshot() ([]byte, error)         { return json.Marshal(b) }

var brittleSpec = Spec{Role: "brittle", Inputs: []Input{{Stream: events.StreamAccount, Filters: []string{"account.0"}}}}

// ownBrittle owns the partition again and again until the process "is killed", or ctx is
// done.
func (b *bench) ownBrittle(ctx context.Context, js jetstream.JetStream) error {
	env, lost := b.env, make(chan struct{})
	env.JS = js
	if f, ok := js.(*testnats.Faulty); ok {
		f.Crash = sync.OnceFunc(func() { close(lost) })
	}
	for {
		err := Run(ctx, env, brittleSpec, newBrittle(), lost, func() {})
		var f *failure
		if !errors.As(err, &f) {
			return err
		}
	}
}

// expectation is what must come of some messages.
type expectation struct {
	counts  map[string]int
	letters map[string]int // by origin
}

// expect says what must come of messages that are stored from 1 on.
func expect(messages []string) expectation {
	e := expectation{map[string]int{}, map[string]int{}}
	for i, m := range messages {
		at := fmt.Sprintf("ACCOUNT/%d/", i+1)
		words := strings.Split(m, ",")
		// A method that follows from the whole message condemns all of it.
		if strings.HasPrefix(m, "whole") || slices.Contains(words, "flush") || slices.Contains(words, "tick") || slices.Contains(words, "commit") {
			// The parts that were rejected before have letters of their own.
			e.letters[at+"-1"] = 1
			if !strings.HasPrefix(m, "whole") {
				for k, w := range words {
					if w == "panic" || w == "error" || w == "reject" {
						e.letters[at+fmt.Sprint(k)] = 1
					}
				}
			}
			continue
		}
		for k, w := range words {
			switch w {
			case "panic", "error", "reject":
				e.letters[at+fmt.Sprint(k)] = 1
			default:
				e.counts[w]++
			}
		}
	}
	return e
}

// TestPoisonCostsItselfOnly sends messages that panic in every method, and kills the
// owner at any publish. Every other word must be counted once, each poisoned part must
// leave one letter, and whoever derives the state must get the same.
func TestPoisonCostsItselfOnly(t *testing.T) {
	t.Parallel()
	words := []string{"a", "b", "c", "d", "e", "panic", "error", "reject", "flush", "tick", "commit"}
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		b.setDead(t, func(cfg *jetstream.StreamConfig) { cfg.Duplicates = 100 * time.Millisecond })
		b.env.CommitEvery = rapid.SampledFrom([]time.Duration{time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond}).Draw(rt, "commit")
		b.env.SnapshotAfter = rapid.SampledFrom([]int{1, 3000, 1 << 20}).Draw(rt, "snapshot")
		messages := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) string {
			if rapid.IntRange(0, 15).Draw(rt, "whole") == 0 {
				return "whole"
			}
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, 4).Draw(rt, "words"), ",")
		}), 1, 12).Draw(rt, "messages")
		sent := 0
		send := func(n int) {
			for ; n > 0 && sent < len(messages); n-- {
				b.publishText(t, "account.0", messages[sent])
				sent++
			}
		}
		for range rapid.IntRange(0, 4).Draw(rt, "kills") {
			send(rapid.IntRange(0, 6).Draw(rt, "before"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rapid.IntRange(5, 60).Draw(rt, "ms"))*time.Millisecond)
			err := b.ownBrittle(ctx, testnats.NewFaulty(b.env.JS, rapid.IntRange(1, 30).Draw(rt, "publishes")))
			cancel()
			if err != nil && !IsStop(err) && !errors.Is(err, testnats.ErrCrashed) {
				rt.Fatalf("owner: %v", err)
			}
		}
		send(len(messages))
		b.check(t, rt, uint64(len(messages)), expect(messages))
	})
}

// check lets an owner handle everything up to a sequence, and compares.
func (b *bench) check(t *testing.T, rt *rapid.T, last uint64, want expectation) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.ownBrittle(ctx, b.env.JS) }()
	asking, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	var got map[string]int
	var err error
	committed, positions, dead := newBrittle(), []Position(nil), DeadParts(nil)
	for err == nil && (len(positions) == 0 || positions[0].Seq < last) {
		if got, err = countsQuestion.Ask(asking, Asker{NC: b.env.NC, Patience: time.Minute}, 0, None{}); err == nil {
			positions, dead, err = ReadLog(asking, b.env.JS, b.env.Names, "brittle", 0, committed)
		}
	}
	cancel()
	if err := errors.Join(err, <-done); err != nil {
		rt.Fatal(err)
	}
	derived := newBrittle()
	derived.o = &Owner{inputs: brittleSpec.Inputs, Inputs: []InputState{{Last: ^uint64(0)}},
		letters: letters{origins: map[string]bool{}}, Names: b.env.Names, JS: b.env.JS, out: &outbox{ctx: t.Context()}}
	for origin := range want.letters { // so that it writes none
		derived.o.letters.origins[origin] = true
	}
	if err := Read(t.Context(), b.env.JS, b.env.Names, brittleSpec.Inputs[0], positions[0].Seq, dead.LeaveOut(derived.Handle)); err != nil {
		rt.Fatal(err)
	}
	for name, counts := range map[string]map[string]int{"answered": got, "committed": committed.Counts, "derived": derived.Counts} {
		maps.DeleteFunc(counts, func(_ string, n int) bool { return n == 0 })
		if !maps.Equal(counts, want.counts) {
			rt.Errorf("%s: %v, want %v", name, counts, want.counts)
		}
	}
	if committed.Half != 0 {
		rt.Errorf("half of a change was committed")
	}
	letters := map[string]int{}
	for origin, all := range b.dead(t) {
		letters[origin] = len(all)
	}
	if !maps.Equal(letters, want.letters) {
		rt.Errorf("letters %v, want %v", letters, want.letters)
	}
}
