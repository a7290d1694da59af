package stream

import (
	"context"
	"os"
	"testing"
	"time"
)

// sequences is a tally that remembers the numbers of its messages.
type sequences struct {
	*tally
	seen *[]uint64
}

func (s sequences) Handle(m *Message) error {
	*s.seen = append(*s.seen, m.Seq)
	return s.tally.Handle(m)
}

// setBack does something to a stopped server's stream ACCOUNT, which has 30 messages.
// The folder's copy of old has 10. It returns how many messages are left.
var setBack = map[string]func(t *testing.T, b *bench, dir, old string) (left int){
	"an older copy is put back": func(t *testing.T, b *bench, dir, old string) int {
		b.srv.Stop()
		must(t, os.RemoveAll(dir))
		must(t, os.CopyFS(dir, os.DirFS(old)))
		b.srv.Restart(t)
		return 10
	},
	"the stream is made anew": func(t *testing.T, b *bench, _, _ string) int {
		must(t, b.env.JS.DeleteStream(t.Context(), "ACCOUNT"))
		_, err := Ensure(t.Context(), b.env.JS, Layout{})
		must(t, err)
		b.srv.Restart(t) // a reader notices when it opens its consumer again
		return 0
	},
	"the stream is deleted": func(t *testing.T, b *bench, _, _ string) int {
		must(t, b.env.JS.DeleteStream(t.Context(), "ACCOUNT"))
		b.srv.Restart(t)
		return 0
	},
}

// TestAnInputThatLostItsEndIsReadOn: what the stream has after the loss takes
// sequences that were read before.
func TestAnInputThatLostItsEndIsReadOn(t *testing.T) {
	t.Parallel()
	for what, lose := range setBack {
		for name, living := range map[string]bool{"while it runs": true, "while it is stopped": false} {
			t.Run(what+" "+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.env.Ensure = func(ctx context.Context) error { _, err := Ensure(ctx, b.env.JS, Layout{}); return err }
				var numbers []uint64
				var owner *tally
				last := make(chan *tally, 1000)
				begin := func() (stop func()) {
					ctx, cancel := context.WithCancel(t.Context())
					s := NewSupervisor(b.env)
					s.Go(ctx, accountInput, func() Processor {
						next := newTally()
						last <- next
						return sequences{next, &numbers}
					})
					return func() { cancel(); s.Wait() }
				}
				reach := func(n uint64) {
					t.Helper()
					for {
						select {
						case got := <-owner.handled:
							if got >= n {
								return
							}
						case owner = <-last:
						case <-time.After(time.Minute):
							t.Fatalf("not at %d after 20 s", n)
						}
					}
				}
				dir, old := b.srv.StreamDir("ACCOUNT"), t.TempDir()
				b.publish(t, 10)
				b.srv.Stop()
				must(t, os.CopyFS(old, os.DirFS(dir)))
				b.srv.Restart(t)
				stop := begin()
				owner = <-last
				b.publishPatiently(t)
				b.publish(t, 19)
				reach(30)
				if !living {
					stop()
				}
				left := lose(t, b, dir, old)
				if !living {
					stop = begin()
				}
				b.publishPatiently(t)
				b.publish(t, 34)
				reach(65)
				stop()
				if n := len(numbers); n != 65 {
					t.Errorf("%d messages were handled, want each once: 65", n)
				}
				for i := 1; i < len(numbers); i++ {
					if numbers[i] <= numbers[i-1] {
						t.Fatalf("number %d after %d", numbers[i], numbers[i-1])
					}
				}
				l := b.open(t, newTally())
				if len(l.losses) != 1 || int(l.losses[0].Lost) != 30-left || int(l.losses[0].Cut) != left {
					t.Errorf("the log says %+v, want %d lost after %d", l.losses, 30-left, left)
				}
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAPositionOfAFormerVersionFits: it has no time, and the stream's time of making
// may have changed.
func TestAPositionOfAFormerVersionFits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(t, 5)
	l := b.open(t, newTally())
	must(t, l.Commit(t.Context(), []Position{{Seq: 3}}, at(3)))
	c := newTally()
	stop := b.start(t, c)
	b.publish(t, 2)
	for <-c.handled != 7 {
	}
	must(t, stop())
}
