package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// echo answers questions, in ways that its request chooses.
type echo struct {
	*tally
	entered, leave chan struct{} // nil: Handle does not wait
}

var (
	echoQuestion   = Question[string, string]{Role: "tally", Kind: "echo"}
	numberQuestion = Question[int, string]{Role: "tally", Kind: "echo"}  // asks with another request
	newerQuestion  = Question[string, string]{Role: "tally", Kind: "of"} // of a later version
)

func (e *echo) Start(ctx context.Context, o *Owner) error {
	Answer(o, echoQuestion, func(req string) (string, error) {
		switch req {
		case "refuse":
			return "", fmt.Errorf("%w: not today", ErrRefused)
		case "fail":
			return "", errors.New("two\nlines")
		case "panic":
			panic("a secret")
		case "large":
			return strings.Repeat("x", 2<<20), nil
		}
		return req, nil
	})
	return e.tally.Start(ctx, o)
}

func (e *echo) Handle(m *Message) error {
	if e.entered != nil {
		close(e.entered)
		<-e.leave
	}
	return e.tally.Handle(m)
}

func TestAsk(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.start(t, &echo{tally: newTally()})
	ask := func(q Question[string, string], partition int, req string) error {
		_, err := q.Ask(t.Context(), b.asker(), partition, req)
		return err
	}
	if got, err := echoQuestion.Ask(t.Context(), b.asker(), 0, "täglich"); err != nil || got != "täglich" {
		t.Errorf("answer %q, %v", got, err)
	}
	_, wrongType := numberQuestion.Ask(t.Context(), b.asker(), 0, 7)
	for _, test := range []struct {
		name string
		got  error
		want error
		says string
	}{
		{"a refusal", ask(echoQuestion, 0, "refuse"), ErrRefused, "asking tally.0 for echo: the owner refuses the question: not today"},
		{"another request", wrongType, ErrRefused, "cannot unmarshal number"},
		{"a failure", ask(echoQuestion, 0, "fail"), ErrOwner, "two\nlines"},
		{"an answer that no message holds", ask(echoQuestion, 0, "large"), ErrOwner, "2097154 bytes"},
		{"an unknown question", ask(newerQuestion, 0, ""), ErrUnknownQuestion, `the tally has no answer to "of"`},
		{"a partition without an owner", ask(echoQuestion, 1, ""), ErrNotOwned, "tally.1"},
	} {
		if !errors.Is(test.got, test.want) || !strings.Contains(test.got.Error(), test.says) {
			t.Errorf("%s: %v, want %q and %q", test.name, test.got, test.want, test.says)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := ask(echoQuestion, 0, ""); !errors.Is(err, ErrNotOwned) {
		t.Errorf("after the owner: %v", err)
	}
	b.srv.Stop()
	for b.env.NC.IsConnected() {
		<-time.After(time.Millisecond)
	}
	if err := ask(echoQuestion, 0, ""); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("without a connection: %v", err)
	}
}

// TestAskOfAnOwnerThatIsBusy: a question waits for the Processor as long as its
// context allows; progress does not. When the ownership ends, askers learn it.
func TestAskOfAnOwnerThatIsBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	e := &echo{newTally(), make(chan struct{}), make(chan struct{})}
	lost, done, ready := make(chan struct{}), make(chan error, 1), make(chan struct{})
	go func() { done <- Run(t.Context(), b.env, accountInput, e, lost, func() { close(ready) }) }()
	<-ready
	b.publish(t, 1)
	<-e.entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := echoQuestion.Ask(ctx, b.asker(), 0, ""); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("of a busy owner: %v", err)
	}
	if p, err := ProgressOf("tally").Ask(t.Context(), b.asker(), 0, None{}); err != nil || p.Pending != 1 {
		t.Errorf("progress of a busy owner: %+v, %v", p, err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := echoQuestion.Ask(t.Context(), b.asker(), 0, "")
		answered <- err
	}()
	close(lost)
	close(e.leave)
	if err := <-done; !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	if err := <-answered; err != nil && !errors.Is(err, ErrNotOwned) { // nil: it was answered before
		t.Errorf("of an owner that has lost the partition: %v", err)
	}
}

func TestAPatientAskWaitsForTheNextOwner(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	patient := b.asker()
	patient.Patience = time.Minute
	got := make(chan error, 1)
	go func() {
		_, err := echoQuestion.Ask(t.Context(), patient, 0, "")
		got <- err
	}()
	stop := b.start(t, &echo{tally: newTally()})
	if err := <-got; err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	patient.Patience = time.Millisecond
	if _, err := echoQuestion.Ask(t.Context(), patient, 0, ""); !errors.Is(err, ErrNotOwned) {
		t.Errorf("after the owner: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	patient.Patience = time.Minute
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := echoQuestion.Ask(ctx, patient, 0, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("of an asker that gave up: %v", err)
	}
}

func TestAskAll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const n = 2 * askAtOnce
	for _, p := range []int{0, 3, n - 1} {
		spec := Spec{Role: "tally", Partition: p, Inputs: []Input{{Stream: events.StreamAccount, Filters: []string{fmt.Sprintf("account.%d", p)}}}}
		ctx, cancel := context.WithCancel(t.Context())
		done, ready := make(chan error, 1), make(chan struct{})
		go func() { done <- Run(ctx, b.env, spec, &echo{tally: newTally()}, nil, func() { close(ready) }) }()
		<-ready
		t.Cleanup(func() { cancel(); <-done })
	}
	var answered []int
	for i, a := range echoQuestion.AskAll(t.Context(), b.asker(), n, "x") {
		if a.Partition != i || (a.Err == nil) != (a.Answer == "x") || a.Err != nil && !errors.Is(a.Err, ErrNotOwned) {
			t.Errorf("%d: %+v", i, a)
		}
		if a.Err == nil {
			answered = append(answered, a.Partition)
		}
	}
	if !slices.Equal(answered, []int{0, 3, n - 1}) {
		t.Errorf("answered: %v", answered)
	}
}
