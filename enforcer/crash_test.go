package enforcer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// TestACrashAnywhereDecidesTheSame kills the owner at a random publish again
// and again, and looks at the end whether apps see what the state says,
// whether every crossing was reported, and whether any decision went back.
func TestACrashAnywhereDecidesTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		b.env.SnapshotAfter = rapid.SampledFrom([]int{1, 3000, 1 << 20}).Draw(rt, "snapshot")
		start := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
		used := map[string]int64{}
		crossed := map[string]bool{}
		customers := []string{"acme", "bob", "ünï"}
		billing := uint64(0)
		feed := func() {
			for range rapid.IntRange(1, 8).Draw(rt, "records") {
				id := rapid.SampledFrom(customers).Draw(rt, "customer")
				switch rapid.IntRange(0, 3).Draw(rt, "kind") {
				case 0:
					billing++
					plan := rapid.SampledFrom([]string{"", "pro"}).Draw(rt, "plan")
					b.account(t, records.Account{Customer: id, Subscription: &records.PlanState{Plan: plan, Status: "active", Position: billing}})
				case 1:
					limit := events.Count(int64(rapid.IntRange(5, 30).Draw(rt, "limit")))
					b.account(t, records.Account{Customer: id, Overrides: map[string]*gate.Override{"api": {Limit: &limit}}})
				default:
					used[id] += int64(rapid.IntRange(1, 6).Draw(rt, "more"))
					b.total(t, records.WindowTotal{Customer: id, Feature: "api", Start: start, End: start.AddDate(0, 0, 30), Used: events.Count(used[id])})
				}
			}
		}
		for range rapid.IntRange(1, 5).Draw(rt, "crashes") {
			stop, _, _ := b.try(t, testnats.NewFaulty(b.env.JS, rapid.IntRange(1, 15).Draw(rt, "publishes")))
			feed()
			if err := stop(); err != nil && !stream.IsStop(err) && !errors.Is(err, testnats.ErrCrashed) {
				rt.Fatalf("owner: %v", err)
			}
		}
		stop, _ := b.run(t)
		feed()
		want := map[string]events.Decision{}
		for _, id := range customers {
			_, ds := b.fresh(t, id)
			want[id] = ds["api"]
		}
		if err := stop(); err != nil {
			rt.Fatal(err)
		}
		for _, id := range customers {
			b.sameInBucket(t, rt, id, want[id])
			if d := want[id]; !d.Allowed {
				crossed[id] = true
			}
		}
		reported := map[string]bool{}
		for _, l := range b.limits(t) {
			if l.Kind == records.LimitKindReached {
				reported[l.Customer] = true
			}
		}
		for id := range crossed {
			if !reported[id] {
				rt.Fatalf("%s is blocked and no crossing was emitted", id)
			}
		}
		b.neverBack(t, rt)
	})
}

// sameInBucket compares what apps see with what the state says.
func (b *bench) sameInBucket(t *testing.T, rt *rapid.T, id string, want events.Decision) {
	t.Helper()
	got := events.Decision{Allowed: true, Plan: "free"}
	e, err := b.kv.Get(context.Background(), events.DecisionKey(id, "api"))
	if err == nil {
		err = json.Unmarshal(e.Value(), &got)
	} else if want.Plan == "free" && want.Allowed && want.Reason == events.WithinLimit {
		return // an absent key says so
	}
	if err != nil || got.Allowed != want.Allowed || got.Plan != want.Plan || got.Limit != want.Limit || got.Reason != want.Reason {
		rt.Fatalf("%s: the bucket says %+v (%v), the state %+v", id, got, err, want)
	}
}

// neverBack reads the bucket's own stream.
func (b *bench) neverBack(t *testing.T, rt *rapid.T) {
	t.Helper()
	last := map[string]int64{}
	in := stream.Input{Stream: "KV_decisions", Filters: []string{"$KV.decisions.>"}}
	err := stream.Read(context.Background(), b.env.JS, b.env.Names, in, ^uint64(0), func(m *stream.Message) error {
		var d events.Decision
		if json.Unmarshal(m.Data, &d) != nil || d.Customer == "" {
			return nil
		}
		if d.Position <= last[m.Subject] {
			return fmt.Errorf("%s went from %d back to %d", m.Subject, last[m.Subject], d.Position)
		}
		last[m.Subject] = d.Position
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}
