package enforcer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestLimitReachedBlocksAndIsReportedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	w := openWindow(1)
	b.total(t, w)
	b.fresh(t, "acme")
	if _, err := b.kv.Get(t.Context(), "acme.api"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Fatalf("far from the limit there is a key: %v", err)
	}
	for _, n := range []int64{8, 9, 10, 11, 10} { // 10 after 11 comes with a newer position, as an adjustment would
		w.Used = events.Count(n)
		b.total(t, w)
		b.fresh(t, "acme")
	}
	d := b.bucket(t, "acme.api", blocked)
	if d.Reason != events.LimitReached || d.Message != "Upgrade." || d.UnblocksAt == nil || !d.UnblocksAt.Equal(w.End) || d.Remaining.Sign() != 0 {
		t.Errorf("decision %+v", d)
	}
	if own := upgradeAt("acme", "api", w.Start, w.End.Add(linkLife)); d.UpgradeURL != own {
		t.Errorf("the upgrade is at %s, want %s", d.UpgradeURL, own)
	}
	ls := b.limits(t)
	if len(ls) != 2 || ls[0].Kind != records.LimitKindThreshold || ls[0].Percent != 80 || ls[1].Kind != records.LimitKindReached || ls[1].Silent {
		t.Errorf("limits %+v", ls)
	}
}

// An override's reason is free text and may name a person; its figures stay.
func TestEraseClearsWhatIsPersonal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	b.account(t, records.Account{Customer: "acme", Email: new("ada@acme.example"), Locale: new("de"), StripeCustomer: new("cus_1"),
		Overrides: map[string]*gate.Override{"api": {Grant: new(events.Count(5)), Reason: "Ada asked"}, "export": {Limit: new(events.Count(1))}}})
	before := b.bucket(t, "acme.api", allowed)
	b.account(t, records.Account{Customer: "acme", Erase: true, StripeCustomer: new("")})
	c, ds := b.fresh(t, "acme")
	if c.Email != "" || c.Locale != "" || c.StripeCustomer != "" || c.Overrides["api"].Reason != "" {
		t.Errorf("kept: %+v", c)
	}
	if len(c.Overrides) != 2 || c.Overrides["api"].Grant.String() != "5" || ds["api"].Limit != before.Limit {
		t.Errorf("the override has changed: %+v, %+v", c.Overrides, ds["api"])
	}
}

func TestAnOlderTotalChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	w := openWindow(10)
	b.pos = 5
	b.total(t, w)
	b.bucket(t, "acme.api", blocked)
	b.pos = 0 // a new owner of the aggregator emits it again
	w.Used = events.Count(3)
	b.total(t, w)
	if _, ds := b.fresh(t, "acme"); ds["api"].Allowed {
		t.Error("an old total unblocked")
	}
}

func TestAPlanUnblocksAtOnceAndADowngradeBeginsANewWindow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	first := b.bucket(t, "acme.api", blocked)
	b.account(t, records.Account{Customer: "acme", Subscription: &records.PlanState{Plan: "pro", Status: "active", Paid: true, Position: 1}})
	d := b.bucket(t, "acme.api", allowed)
	if d.Reason != events.Unlimited || d.Plan != "pro" || d.Position <= first.Position {
		t.Errorf("decision %+v after %d", d, first.Position)
	}
	b.account(t, records.Account{Customer: "acme", Subscription: &records.PlanState{Status: "canceled", Position: 2}})
	b.account(t, records.Account{Customer: "acme", Subscription: &records.PlanState{Plan: "pro", Status: "active", Paid: true, Position: 1}}) // late
	if c, ds := b.fresh(t, "acme"); c.Plan != "free" || !ds["api"].Allowed || ds["api"].Used.Sign() != 0 {
		t.Errorf("after the downgrade: %s, %+v", c.Plan, ds["api"])
	}
	for _, l := range b.limits(t) {
		if l.Kind == records.LimitKindReached && l.Plan != "free" {
			t.Errorf("limit %+v", l)
		}
	}
}

func TestOverridesPinsAndPlansWithoutTheFeature(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	limit := events.Count(50)
	b.account(t, records.Account{Customer: "acme", Overrides: map[string]*gate.Override{"api": {Limit: &limit}}})
	if d := b.bucket(t, "acme.api", allowed); d.Reason != events.Overridden || d.Remaining != events.Some(events.Count(40)) {
		t.Errorf("override: %+v", d)
	}
	b.account(t, records.Account{Customer: "acme", Overrides: map[string]*gate.Override{"api": nil}})
	b.bucket(t, "acme.api", blocked)
	grant := events.Count(5)
	b.account(t, records.Account{Customer: "acme", Overrides: map[string]*gate.Override{"api": {Grant: &grant}}})
	if d := b.bucket(t, "acme.api", allowed); d.Limit != events.Some(events.Count(15)) {
		t.Errorf("grant: %+v", d)
	}
	_, ds := b.fresh(t, "acme")
	if d := ds["export"]; d.Allowed || d.Reason != events.NotInPlan {
		t.Errorf("not in plan: %+v", d)
	}
	b.account(t, records.Account{Customer: "acme", Plan: &records.PlanPin{Name: "pro"}})
	if c, ds := b.fresh(t, "acme"); c.Plan != "pro" || ds["export"].Reason != events.Unlimited {
		t.Errorf("pinned: %s %+v", c.Plan, ds["export"])
	}
}

// TestADecisionWithoutUsageIsAsOfItsMoment, and an answer later says the same.
func TestADecisionWithoutUsageIsAsOfItsMoment(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	b.account(t, records.Account{Customer: "acme", Plan: &records.PlanPin{Name: "free"}})
	d := b.bucket(t, "acme.export", blocked)
	if d.AsOf.IsZero() || !d.AsOf.Equal(d.DecidedAt) {
		t.Errorf("decided at %s, as of %s", d.DecidedAt, d.AsOf)
	}
	if _, ds := b.fresh(t, "acme"); !ds["export"].AsOf.Equal(d.AsOf) {
		t.Errorf("the answer is as of %s, the bucket as of %s", ds["export"].AsOf, d.AsOf)
	}
}

// TestAnAnswerHasTheLinkThatAppsHave: also when there is no key, and so no link
// of the customer's own.
func TestAnAnswerHasTheLinkThatAppsHave(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	b.account(t, records.Account{Customer: "acme", Plan: &records.PlanPin{Name: "free"}})
	_, ds := b.fresh(t, "acme")
	for _, feature := range []string{"api", "export"} {
		d := b.bucket(t, "acme."+feature, blocked)
		if own := ds[feature].UpgradeURL; own != d.UpgradeURL || own == "" {
			t.Errorf("%s: the answer leads to %q, the bucket to %q", feature, own, d.UpgradeURL)
		}
	}
	if _, ds := b.fresh(t, "new"); ds["export"].Allowed || ds["export"].UpgradeURL != "" {
		t.Errorf("nothing was put: %+v", ds["export"])
	}
}

func TestAWindowThatEndsUnblocksAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart=", restart), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			stop, _ := b.run(t)
			w := openWindow(10)
			w.End = time.Now().UTC().Add(700 * time.Millisecond)
			b.total(t, w)
			b.bucket(t, "acme.api", blocked)
			if restart {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				later := w.End.Add(time.Hour) // it ended while nobody was there
				b.now.Store(&later)
				b.run(t)
			}
			if d := b.bucket(t, "acme.api", allowed); d.Position>>32 == 0 {
				t.Errorf("decision %+v", d)
			}
		})
	}
}

func TestARollingWindowUnblocksWhenABucketFallsOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	now := time.Now().UTC()
	old := now.Add(-7 * 24 * time.Hour).Truncate(time.Hour) // falls out within the hour
	w := records.WindowTotal{Customer: "acme", Feature: "tokens", Buckets: []gate.Bucket{
		{Start: old, Used: events.Count(60)}, {Start: now.Truncate(time.Hour), Used: events.Count(50)}}}
	b.total(t, w)
	d := b.bucket(t, "acme.tokens", blocked)
	out := old.Add(7*24*time.Hour + time.Hour)
	if d.UnblocksAt == nil || !d.UnblocksAt.Equal(out) || d.Used != events.Some(events.Count(110)) {
		t.Fatalf("decision %+v, want it to end at %s", d, out)
	}
	b.now.Store(&out)
	b.account(t, records.Account{Customer: "other"}) // wakes the loop, which looks at its clock
	if d := b.bucket(t, "acme.tokens", allowed); d.Used != events.Some(events.Count(50)) {
		t.Errorf("decision %+v", d)
	}
}

func TestGatesAreThereAndCanBeSwitched(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop, _ := b.run(t)
	gates := func(want func(events.Gates) bool) {
		t.Helper()
		b.watch(t, events.GatesKey, func(value []byte) bool {
			var g events.Gates
			if err := json.Unmarshal(value, &g); err != nil {
				t.Fatal(err)
			}
			return want(g)
		})
	}
	gates(func(g events.Gates) bool {
		return g.Partitions == 1 && g.DefaultPlan == "free" && len(g.Gates) == 3 && g.Gates[0].Limit == events.Some(events.Count(10)) && !g.Gates[2].InPlan
	})
	b.account(t, records.Account{Gate: &records.GateSwitch{Feature: "api", Off: true}})
	b.fresh(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stop, _ = b.run(t)
	b.account(t, records.Account{Gate: &records.GateSwitch{Feature: "tokens", Off: true}}) // the first one is not forgotten
	gates(func(g events.Gates) bool { return g.Gates[0].Off && g.Gates[1].Off })

	until := b.clock().Add(time.Hour).UTC()
	b.account(t, records.Account{Gate: &records.GateSwitch{Feature: "api", Off: true, Until: &until}})
	gates(func(g events.Gates) bool { return g.Gates[0].OffUntil != nil && g.Gates[0].OffUntil.Equal(until) })
	b.fresh(t, "acme")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.run(t)
	b.now.Store(&until) // the switch's end is not forgotten either
	gates(func(g events.Gates) bool { return !g.Gates[0].Off && g.Gates[0].OffUntil == nil && g.Gates[1].Off })
}

func TestAStaleOwnerIsFencedInTheBucket(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, old := b.run(t)
	b.run(t)
	b.total(t, openWindow(10))
	if err := <-old; !errors.Is(err, stream.ErrFenced) {
		t.Fatalf("stale owner: %v", err)
	}
	if d := b.bucket(t, "acme.api", blocked); d.Position>>32 != 2 {
		t.Errorf("decided in epoch %d, want 2", d.Position>>32)
	}
}

func TestGarbageGoesToTheDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	b.publish(t, "windows.0", []byte("?"))
	b.publish(t, "account.0", []byte("{"))
	b.account(t, records.Account{})
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	b.fresh(t, "acme") // both inputs are read, the letters are on their way
	deadline := time.After(30 * time.Second)
	for n := 0; n != 3; {
		select {
		case <-deadline:
			t.Fatalf("%d dead letters, want 3", n)
		case <-time.After(5 * time.Millisecond):
		}
		n = 0
		err := stream.Read(t.Context(), b.env.JS, b.env.Names, stream.Input{Stream: events.StreamDead, Filters: []string{"dead.0"}}, ^uint64(0), func(*stream.Message) error {
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestARemovedGateWithdrawsItsDecisions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	b.total(t, openWindow(10))
	b.bucket(t, "acme.api", blocked)
	next := catalog()
	next.Gates = next.Gates[1:]
	b.cat.Store(next)
	w, err := b.kv.Watch(t.Context(), "acme.api")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	for e := range w.Updates() {
		if e != nil && e.Operation() == jetstream.KeyValueDelete {
			return
		}
	}
}

// TestACrashLeavesOneDeadLetter: the next owner reads a record again that the
// last one rejected and did not commit.
func TestACrashLeavesOneDeadLetter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	letters, err := b.env.NC.SubscribeSync("dead.0")
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, "windows.0", []byte("x"))
	b.publish(t, "account.0", []byte(`{}`))
	b.env.CommitEvery = time.Hour
	js := testnats.NewFaulty(b.env.JS, 1<<30)
	_, end, err := b.try(t, js)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := letters.NextMsg(30 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	js.Crash()
	if err := <-end; !errors.Is(err, stream.ErrLost) {
		t.Fatal(err)
	}
	stop, _ := b.run(t)
	b.fresh(t, "acme")
	if err := stop(); err != nil { // commits
		t.Fatal(err)
	}
	s, err := b.env.JS.Stream(t.Context(), events.StreamDead)
	if err != nil || s.CachedInfo().State.Msgs != 2 {
		t.Fatalf("%d dead letters of 2 records, %v", s.CachedInfo().State.Msgs, err)
	}
}

// TestTakingBackNothing: an override that is not there is taken back without a word to
// the aggregator, and a change with too many of them is a dead letter.
func TestTakingBackNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t)
	many := map[string]*gate.Override{}
	for i := range gate.MaxOverrides + 1 {
		many[fmt.Sprint("gone", i)] = nil
	}
	b.account(t, records.Account{Customer: "acme", Overrides: many})
	delete(many, "gone0")
	many["api"] = &gate.Override{Limit: new(events.Count(50))}
	delete(many, "gone1")
	b.account(t, records.Account{Customer: "acme", Overrides: many})
	if c, _ := b.fresh(t, "acme"); len(c.Overrides) != 1 {
		t.Errorf("%d overrides", len(c.Overrides))
	}
	controls := 0
	in := stream.Input{Stream: events.StreamUsage, Filters: []string{b.env.Names.Usage(0, events.ControlToken)}}
	err := stream.Read(t.Context(), b.env.JS, b.env.Names, in, ^uint64(0), func(m *stream.Message) error {
		if bytes.Contains(m.Data, []byte(records.ControlOverride)) {
			controls++
		}
		return nil
	})
	if err != nil || controls != 1 {
		t.Errorf("%d controls, %v", controls, err)
	}
}
