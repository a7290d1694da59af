package aggregator

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// publishUses publishes n uses of api by acme. Their ids begin with prefix.
func (b *testPartition) publishUses(t testing.TB, prefix string, n int) {
	t.Helper()
	for i := range n {
		e := events.Event{ID: fmt.Sprint(prefix, i), Type: "api", Subject: "acme"}
		b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	}
}

func TestLargestMessageBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.run(t, b.env.JS)
	b.publish(t, "usage.in.acme", bytes.Repeat([]byte{'x'}, 1<<20-100))
	b.publishUses(t, "", 1)
	if got := currentUse(t, b.windows(t, "acme"), "api"); got != "1" {
		t.Fatalf("used %s, want 1", got)
	}
	eventually(t, func() bool { return len(b.deadLetters(t)) == 1 })
}

// TestExpiredFingerprintsMayBeMissing takes over a partition that had no events for
// so long that its runs in SEEN have expired.
func TestExpiredFingerprintsMayBeMissing(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.sizes = fingerprint.Sizes{Chunk: 2, Page: 2, Fanout: 100}
	stop, _ := b.run(t, b.env.JS)
	b.publishUses(t, "a", 5)
	b.windows(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	seen, err := b.env.JS.Stream(t.Context(), "SEEN")
	if err != nil {
		t.Fatal(err)
	}
	if i, err := seen.Info(t.Context()); err != nil || i.State.Msgs == 0 {
		t.Fatalf("no run was written: %v", err)
	}
	if err := seen.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said bytes.Buffer
	b.env.Log = slog.New(slog.NewTextHandler(&said, nil))
	opt := b.options()
	opt.Now = func() time.Time { return time.Now().Add(40 * 24 * time.Hour) }
	if err := stream.Run(ctx, b.env, Spec(b.env.Names, 0), New(opt, 0), nil, cancel); err != nil {
		t.Errorf("runs have expired: %v", err)
	}
	if strings.Contains(said.String(), "fingerprints_lost") {
		t.Errorf("what has expired is not lost: %s", &said)
	}
}

// TestOwnersConfigurationWins folds a configuration that a former owner announced.
// The present owner must announce its own again.
func TestOwnersConfigurationWins(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.run(t, b.env.JS)
	b.publishUses(t, "", 1)
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
