package aggregator

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// use publishes so many uses of api by acme, whose ids begin with prefix.
func (b *testPartition) use(t testing.TB, prefix string, n int) {
	t.Helper()
	for i := range n {
		e := events.Event{ID: fmt.Sprint(prefix, i), Type: "api", Subject: "acme"}
		b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	}
}

func TestAMessageOfAnySizeGoesToTheDeadLetters(t *testing.T) {
	b := startPartition(t)
	b.run(t, b.env.JS)
	b.publish(t, "usage.in.acme", bytes.Repeat([]byte{'x'}, 1<<20-100))
	b.use(t, "", 1)
	if got := used(t, b.windows(t, "acme"), "api"); got != "1" {
		t.Fatalf("used %s, want 1", got)
	}
	eventually(t, func() bool { return len(b.dead(t)) == 1 })
}

// TestFingerprintsThatNothingNeedsMayBeGone: a partition that nobody used for
// long has named chunks in SEEN that have expired since.
func TestFingerprintsThatNothingNeedsMayBeGone(t *testing.T) {
	b := startPartition(t)
	b.sizes = fingerprint.Sizes{Chunk: 2, Page: 2, Fanout: 100}
	stop, _ := b.run(t, b.env.JS)
	b.use(t, "a", 5)
	b.windows(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	seen, err := b.env.JS.Stream(t.Context(), "SEEN")
	if err != nil {
		t.Fatal(err)
	}
	if i, err := seen.Info(t.Context()); err != nil || i.State.Msgs == 0 {
		t.Fatalf("no chunk was written: %v", err)
	}
	if err := seen.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := func(later time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		opt := b.options()
		opt.Now = func() time.Time { return time.Now().Add(later) }
		return stream.Run(ctx, b.env, Spec(b.env.Names, 0), New(opt, 0), nil, cancel)
	}
	if err := at(0); err == nil || !strings.Contains(err.Error(), "was it purged?") {
		t.Errorf("chunks that count are gone: %v", err)
	}
	if err := at(40 * 24 * time.Hour); err != nil {
		t.Errorf("chunks have expired: %v", err)
	}
}

// TestTheOwnersConfigurationWins: one that a former owner announced, and that
// is folded only now, must not stay.
func TestTheOwnersConfigurationWins(t *testing.T) {
	b := startPartition(t)
	b.run(t, b.env.JS)
	b.use(t, "", 1)
	b.windows(t, "acme")
	other := catalog()
	other.Gates[0].Limits = map[string]gate.Limit{"free": {Value: events.Count(77)}}
	c, err := records.Control(records.ControlConfig, "", "config/0/1/1", other)
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, "usage.p.0.~control", c)
	b.windows(t, "acme")
	eventually(t, func() bool {
		for _, w := range b.windows(t, "acme") {
			if w.Feature == "api" {
				return w.Limit == events.Some(events.Count(10))
			}
		}
		return false
	})
}
