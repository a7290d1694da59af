package notifier

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/records"
)

// Commits after a snapshot lead to the state that was committed.
func TestCommitsRepeatTheState(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.PollEvery = time.Hour })
	rapid.Check(t, func(t *rapid.T) {
		b.must(b.p.Restore(nil))
		var snapshot []byte
		var commits [][]byte
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			step(t, b)
			if rapid.Bool().Draw(t, "commit") {
				c, err := b.p.Commit()
				b.must(err)
				if c != nil {
					commits = append(commits, c)
				}
				if rapid.IntRange(0, 3).Draw(t, "snapshot") == 0 {
					snapshot, err = b.p.Snapshot()
					b.must(err)
					commits = nil
				}
			}
		}
		c, err := b.p.Commit()
		b.must(err)
		if c != nil {
			commits = append(commits, c)
		}
		want, err := b.p.Snapshot()
		b.must(err)
		q, err := New(b.options)
		b.must(err)
		b.must(q.Restore(snapshot))
		for _, c := range commits {
			b.must(q.Apply(c))
		}
		got, err := q.Snapshot()
		b.must(err)
		var g, w facts
		b.must(json.Unmarshal(asJSON(t, b, got), &g))
		b.must(json.Unmarshal(asJSON(t, b, want), &w))
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("got %+v\nwant %+v", g, w)
		}
	})
}

func asJSON(t *rapid.T, b *bench, snapshot []byte) []byte {
	q, err := New(b.options)
	b.must(err)
	b.must(q.Restore(snapshot))
	if len(q.facts.Kept) == 0 {
		q.facts.Kept = nil
	}
	if len(q.facts.Parked) == 0 {
		q.facts.Parked = nil
	}
	out, err := json.Marshal(q.facts)
	b.must(err)
	return out
}

func step(t *rapid.T, b *bench) {
	who := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "customer")
	l := b.reached(rapid.SampledFrom([]string{"api", "exports", "quiet"}).Draw(t, "feature"))
	l.Customer, l.WindowStart = who, noon.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "window"))*time.Hour)
	switch rapid.IntRange(0, 8).Draw(t, "step") {
	case 0, 1:
		b.handle(inputLimits, l)
	case 2:
		l.Kind = records.LimitKindUnblocked
		b.handle(inputLimits, l)
	case 3:
		b.account(records.Account{Customer: who, Email: new(rapid.SampledFrom([]string{"", "x@acme.example"}).Draw(t, "email"))})
	case 4:
		b.account(records.Account{Customer: who, Suppress: new(rapid.SampledFrom([]string{"", "bounced"}).Draw(t, "why")), Plan: &records.PlanPin{Name: "pro"}})
	case 5:
		pay := *payment(b.clock())
		pay.Void = rapid.Bool().Draw(t, "void")
		b.account(records.Account{Customer: who, Payment: &pay})
	case 6:
		b.account(records.Account{Customer: who, Erase: true})
	case 7:
		_, err := b.p.Tick(b.clock().AddDate(0, 0, rapid.IntRange(0, 60).Draw(t, "days")))
		b.must(err)
	case 8:
		b.p.mu.Lock()
		if rapid.Bool().Draw(t, "park") {
			b.p.park(who)
		} else {
			b.p.unpark()
		}
		b.p.mu.Unlock()
	}
}
