package aggregator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// damages are what can happen to SEEN while the server is stopped or, where the function
// is for a running server, at any time.
var damages = map[string]func(t *testing.T, b *testPartition, older string){
	"set back": func(t *testing.T, b *testPartition, older string) {
		dir := b.srv.StreamDir("SEEN")
		b.srv.Stop()
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(older))); err != nil {
			t.Fatal(err)
		}
		b.restart(t)
	},
	"set back, and used by another partition": func(t *testing.T, b *testPartition, older string) {
		dir := b.srv.StreamDir("SEEN")
		b.srv.Stop()
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(older))); err != nil {
			t.Fatal(err)
		}
		b.restart(t)
		for range 40 {
			b.publish(t, "seen.1", []byte("of another partition"))
		}
	},
	"purged": func(t *testing.T, b *testPartition, _ string) {
		if err := b.seen(t).Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	},
	"deleted and made anew": func(t *testing.T, b *testPartition, _ string) {
		if err := b.env.JS.DeleteStream(t.Context(), "SEEN"); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Ensure(t.Context(), b.env.JS, stream.Layout{Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	},
}

func (b *testPartition) seen(t *testing.T) jetstream.Stream {
	t.Helper()
	s, err := b.env.JS.Stream(t.Context(), "SEEN")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restart starts the server, and waits until it answers.
func (b *testPartition) restart(t *testing.T) {
	t.Helper()
	b.srv.Restart(t)
	wait.Until(t, "the server answers", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.env.JS.Stream(ctx, "SEEN")
		return err
	})
}

// useEach publishes n uses, and waits after each until it is committed: so each has a run
// of its own where a chunk has one entry.
func (b *testPartition) useEach(t *testing.T, prefix string, n int) {
	t.Helper()
	for i := range n {
		b.publishUses(t, fmt.Sprint(prefix, i, "-"), 1)
		newest, err := stream.Newest(t.Context(), b.env.JS, b.env.Names, Spec(b.env.Names, 0).Inputs[0])
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool {
			at, err := stream.Committed(t.Context(), b.env.JS, b.env.Names, stream.RoleAggregator, 0)
			return err == nil && len(at) > 0 && at[0].Seq >= newest
		})
	}
}

// TestSeenThatIsDamaged: the partition goes on with the fingerprints that are left, and
// says what is lost.
func TestSeenThatIsDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, running %t", name, running), func(t *testing.T) {
				t.Parallel()
				b := startPartition(t)
				b.sizes = fingerprint.Sizes{Chunk: 1, Page: 1, Fanout: 100, Cache: 1}
				stop, _ := b.run(t, b.env.JS)
				b.useEach(t, "early", 3)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				b.srv.Stop()
				older := t.TempDir()
				if err := os.CopyFS(older, os.DirFS(b.srv.StreamDir("SEEN"))); err != nil {
					t.Fatal(err)
				}
				b.restart(t)
				stop, _ = b.run(t, b.env.JS)
				b.useEach(t, "late", 4)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				var s *stream.Supervisor
				var end func()
				if running {
					s, end = b.superviseUntil(t)
					b.useEach(t, "last", 1)
				}
				damage(t, b, older)
				if !running {
					s, end = b.superviseUntil(t)
				}
				b.useEach(t, "new", 4)
				b.useEach(t, "new", 4)  // no repetition of what was stored since counts
				b.useEach(t, "late", 4) // these may: how many is not said
				want := 3 + 4 + 4
				if running {
					want++
				}
				used := currentUse(t, b.windows(t, "acme"), "api")
				n, err := events.ParseValue(used)
				if err != nil || n.Cmp(events.Count(int64(want))) < 0 || n.Cmp(events.Count(int64(want+4))) > 0 {
					t.Fatalf("used %s, want %d to %d", used, want, want+4)
				}
				wait.Until(t, "it is said", func() error {
					if all := s.Troubles(); len(all) != 1 || all[0].Forgotten == 0 || all[0].Failures != 0 {
						return fmt.Errorf("troubles: %+v", all)
					}
					return nil
				})
				if all := s.Progress(t.Context()); len(all) != 1 || all[0].Horizon == nil || *all[0].Horizon > time.Hour {
					t.Errorf("progress: %+v", all)
				}
				end()
				b.repeatsAreFound(t, name, used)
			})
		}
	}
}

// repeatsAreFound takes the partition over once more: nothing else is lost, and of what
// SEEN has, no repetition counts.
func (b *testPartition) repeatsAreFound(t *testing.T, name, before string) {
	t.Helper()
	s := b.supervise(t)
	b.useEach(t, "new", 4)
	b.useEach(t, "late", 4)
	if name == "set back" {
		b.useEach(t, "early", 3)
	}
	if after := currentUse(t, b.windows(t, "acme"), "api"); after != before {
		t.Errorf("repetitions count: %s, then %s", before, after)
	}
	if all := s.Troubles(); len(all) > 0 && all[0].Forgotten > 0 {
		t.Errorf("more is lost: %+v", all)
	}
}
