package stream

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
)

func TestAssignIsEvenAndMovesLittle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, size := rapid.IntRange(1, 128).Draw(t, "partitions"), rapid.IntRange(1, 9).Draw(t, "members")
		var list []string
		for i := range size {
			list = append(list, fmt.Sprintf("host-%d-%d", i, rapid.IntRange(0, 99).Draw(t, "id")))
		}
		owners := Assign("aggregator", n, list)
		load := map[string]int{}
		for _, o := range owners {
			if !slices.Contains(list, o) {
				t.Fatalf("owned by %q", o)
			}
			load[o]++
		}
		for _, m := range list {
			if got := load[m]; got < n/size || got > (n+size-1)/size {
				t.Fatalf("%s owns %d of %d among %d", m, got, n, size)
			}
		}
		shuffled := slices.Clone(list)
		slices.Reverse(shuffled)
		if !slices.Equal(owners, Assign("aggregator", n, shuffled)) {
			t.Fatal("the order of the members matters")
		}
	})
	if got := Assign("x", 2, nil); got[0] != "" || got[1] != "" {
		t.Errorf("without members: %v", got)
	}
}

// fleet is processes of one role with 8 partitions.
type fleet struct {
	b    *bench
	stop map[string]func()
}

func (f *fleet) start(t *testing.T, name string) {
	t.Helper()
	env := f.b.env
	env.Holder = name
	s := NewSupervisor(env)
	ctx, cancel := context.WithCancel(context.Background())
	for p := range 8 {
		s.Go(ctx, Spec{Role: "tally", Partition: p, Inputs: []Input{{Stream: events.StreamAccount, Filters: []string{fmt.Sprintf("account.%d", p)}}}},
			func() Processor { return newTally() })
	}
	f.stop[name] = func() { cancel(); s.Wait() }
	t.Cleanup(f.stop[name])
}

// spread waits until the leases are spread as wanted, by number of partitions.
func (f *fleet) spread(t *testing.T, want map[string]int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		owners, err := Owners(t.Context(), f.b.env.JS, f.b.env.Names)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, o := range owners {
			got[o]++
		}
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("spread %v, want %v", got, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestPartitionsSpreadOverProcesses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := &fleet{b: b, stop: map[string]func(){}}
	begin := time.Now()
	f.start(t, "a")
	f.spread(t, map[string]int{"a": 8})
	t.Logf("alone after %s", time.Since(begin))
	begin = time.Now()
	f.start(t, "b")
	f.spread(t, map[string]int{"a": 4, "b": 4})
	t.Logf("two after %s", time.Since(begin))
	f.start(t, "c")
	f.start(t, "d")
	f.spread(t, map[string]int{"a": 2, "b": 2, "c": 2, "d": 2})
	begin = time.Now()
	f.stop["b"]()
	f.stop["c"]()
	f.spread(t, map[string]int{"a": 4, "d": 4})
	t.Logf("two left after %s", time.Since(begin))
	b.publish(t, 3)
	var n uint64
	for n < 3 { // whoever owns it goes on counting
		at, err := Committed(t.Context(), b.env.JS, b.env.Names, "tally", 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(at) > 0 {
			n = at[0].Seq
		}
	}
}

// TestADeadMemberWhoseKeyStaysOwnsNothing: a server that is killed may forget
// when a key expires.
func TestADeadMemberWhoseKeyStaysOwnsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env.LeaseTTL = time.Second // the least that a server knows
	kv, err := b.env.JS.KeyValue(t.Context(), "owners")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), memberPrefix+"tally.ghost", []byte("ghost")); err != nil {
		t.Fatal(err)
	}
	f := &fleet{b: b, stop: map[string]func(){}}
	f.start(t, "a")
	f.spread(t, map[string]int{"a": 8})
	if _, err := kv.Get(t.Context(), memberPrefix+"tally.ghost"); err == nil {
		t.Error("its key is still there")
	}
}
