package aggregator

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// crashRun is a partition whose owners crash while a test publishes events.
type crashRun struct {
	*testPartition
	rt   *rapid.T
	next int // id of the next event
}

// publishSome publishes events of three customers, in all forms, with duplicates.
func (c *crashRun) publishSome(t *testing.T) {
	rt := c.rt
	for range rapid.IntRange(1, 12).Draw(rt, "events") {
		c.next++
		e := events.Event{ID: fmt.Sprint(rapid.IntRange(max(1, c.next-20), c.next).Draw(rt, "id")),
			Type:    rapid.SampledFrom([]string{"api", "tokens", "login", "other"}).Draw(rt, "type"),
			Subject: rapid.SampledFrom([]string{"acme", "a@b.c", "ünï"}).Draw(rt, "customer"),
			Data:    fmt.Appendf(nil, `{"n":%d.5}`, rapid.IntRange(0, 9).Draw(rt, "n")),
			Time:    time.Now().Add(-time.Duration(rapid.IntRange(0, 30*24).Draw(rt, "age")) * time.Hour)}
		switch rapid.IntRange(0, 2).Draw(rt, "how") {
		case 0:
			c.publish(t, events.Names{}.UsageIn(e.Subject), e.AppendJSON(nil))
		case 1:
			c.publish(t, "usage.p.0.~batch", events.AppendBatch(nil, &e))
		default:
			c.publish(t, "usage.p.0.~import", events.AppendBatch(events.AppendBatch(nil, &e), &e))
		}
	}
}

// ownUntilCrash runs an owner that fails after some publishes, or stops it before.
func (c *crashRun) ownUntilCrash(t *testing.T) {
	rt := c.rt
	f := testnats.NewFaulty(c.env.JS, rapid.SampledFrom([]int{1, 2, 4, 8, 15, 30, 60, 100, 150, 250}).Draw(rt, "publishes"))
	stop, done := c.run(t, f)
	c.publishSome(t)
	var err error
	ended := false
	for range rapid.SampledFrom([]int{0, 3, 10}).Draw(rt, "rounds") {
		select {
		case err = <-done:
			ended = true
		case <-time.After(time.Duration(rapid.SampledFrom([]int{2, 4, 8}).Draw(rt, "pause")) * time.Millisecond): // for a merge
		}
		c.publishSome(t)
		if ended {
			break
		}
	}
	if !ended {
		err = stop()
	}
	if err != nil && !stream.IsStop(err) && !errors.Is(err, testnats.ErrCrashed) {
		rt.Fatalf("owner: %v", err)
	}
}

// TestCrashAnywhereLosesNothing lets one owner after another fail at a random
// publish: of a total, of fingerprints, of their merge, of a part of a commit. Then
// it compares the committed state with a replay of the stream, byte by byte.
func TestCrashAnywhereLosesNothing(t *testing.T) {
	t.Parallel()
	merges := 0
	rapid.Check(t, func(rt *rapid.T) {
		c := crashRun{testPartition: startPartition(t), rt: rt}
		defer c.close()
		c.sizes = rapid.SampledFrom([]fingerprint.Sizes{{}, {Chunk: 1, Page: 1, Fanout: 2}, {Chunk: 2, Page: 3, Fanout: 2, Cache: 2}, {Chunk: 3, Page: 2, Fanout: 3}}).Draw(rt, "sizes")
		c.env.SnapshotAfter = rapid.SampledFrom([]int{1, 2000, 1 << 20}).Draw(rt, "snapshot")
		c.env.CommitEvery = time.Millisecond
		for range rapid.IntRange(1, 5).Draw(rt, "crashes") {
			c.ownUntilCrash(t)
		}
		stop, _ := c.run(t, c.env.JS)
		c.publishSome(t)
		c.windows(t, "acme")
		if err := stop(); err != nil {
			rt.Fatal(err)
		}
		res := c.verify(t)
		if len(res.Differences) != 0 {
			rt.Fatalf("replay: %+v", res)
		}
		live := New(c.options(), 0)
		if _, _, err := stream.ReadLog(t.Context(), c.env.JS, c.env.Names, stream.RoleAggregator, 0, live); err != nil {
			rt.Fatal(err)
		}
		merges += len(live.obsolete)
	})
	if merges == 0 {
		t.Error("nothing was ever merged")
	}
}
