package enforcer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// losses are what can happen to the bucket without its owners.
var losses = map[string]func(t *testing.T, b *bench) error{
	"purged": func(t *testing.T, b *bench) error {
		s, err := b.env.JS.Stream(t.Context(), "KV_decisions")
		if err != nil {
			return err
		}
		return s.Purge(t.Context())
	},
	"deleted": func(t *testing.T, b *bench) error { return b.env.JS.DeleteKeyValue(t.Context(), "decisions") },
	"made anew": func(t *testing.T, b *bench) error {
		if err := b.env.JS.DeleteKeyValue(t.Context(), "decisions"); err != nil {
			return err
		}
		_, err := b.env.JS.CreateKeyValue(t.Context(), stream.DecisionsBucket(b.env.Names, 1))
		return err
	},
	"an older decision": func(t *testing.T, b *bench) error {
		old, err := json.Marshal(events.Decision{Customer: "acme", Feature: "api", Allowed: true, Reason: events.NearLimit, Position: 1})
		return errors.Join(err, b.overwrite(t, "acme.api", old))
	},
	"another decision at the same position": func(t *testing.T, b *bench) error {
		d := b.bucket(t, "acme.api", blocked)
		d.Allowed = true
		edited, err := json.Marshal(d)
		return errors.Join(err, b.overwrite(t, "acme.api", edited))
	},
	"garbage":         func(t *testing.T, b *bench) error { return b.overwrite(t, "acme.api", []byte("{")) },
	"garbage for all": func(t *testing.T, b *bench) error { return b.overwrite(t, events.GatesKey, []byte("{}")) },
	"a key deleted":   func(t *testing.T, b *bench) error { return b.kv.Delete(t.Context(), "acme.api") },
	"a fence deleted": func(t *testing.T, b *bench) error { return b.kv.Purge(t.Context(), records.FenceKey(0)) },
	"foreign keys": func(t *testing.T, b *bench) error {
		foreign, err := json.Marshal(events.Decision{Customer: "globex", Feature: "api", Position: 1})
		return errors.Join(err, b.overwrite(t, "globex.api", foreign), b.overwrite(t, "globex", foreign), b.overwrite(t, "a.b.c", foreign))
	},
}

func (b *bench) overwrite(t *testing.T, key string, value []byte) error {
	_, err := b.kv.Put(t.Context(), key, value)
	return err
}

func TestTheBucketIsRepaired(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		for _, while := range []string{"it runs", "it is stopped"} {
			t.Run(name+" while "+while, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.every = 50 * time.Millisecond
				stop := b.runForever(t)
				b.total(t, openWindow(10))
				before := b.bucket(t, "acme.api", blocked)
				b.fresh(t, "acme") // everything is committed
				if while == "it is stopped" {
					stop()
				}
				if err := lose(t, b); err != nil {
					t.Fatal(err)
				}
				if while == "it is stopped" {
					b.runForever(t)
				}
				b.becomesRight(t, before)
				if b.repaired.Load() == 0 && while == "it runs" && name != "a fence deleted" { // a new owner finds some itself
					t.Error("no repair was counted")
				}
			})
		}
	}
}

func TestABucketThatIsSetBackIsRepaired(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.every = 50 * time.Millisecond
	stop := b.runForever(t)
	b.total(t, openWindow(9))
	near := b.bucket(t, "acme.api", allowed)
	stop()
	b.nats.Stop()
	dir, older := b.nats.StreamDir("KV_decisions"), t.TempDir()
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	stop = b.runForever(t)
	b.total(t, openWindow(10))
	before := b.bucket(t, "acme.api", blocked)
	stop()
	b.nats.Stop()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(older))); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	if d := b.bucket(t, "acme.api", allowed); d.Position != near.Position {
		t.Fatalf("the bucket is not the older one: %+v", d)
	}
	b.runForever(t)
	b.becomesRight(t, before)
}

// restart starts the server, and waits until it answers.
func (b *bench) restart(t *testing.T) {
	t.Helper()
	b.nats.Restart(t)
	wait.Until(t, "the server answers", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.env.JS.Stream(ctx, "KV_decisions")
		return err
	})
}

// runForever takes the partition over again whenever its owner gives it up.
func (b *bench) runForever(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			halt, end, err := b.try(t, b.env.JS)
			if err != nil {
				continue
			}
			select {
			case <-ctx.Done():
				_ = halt()
			case <-end:
			}
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// becomesRight waits until the bucket has one decision, as it was but with a greater
// position, the gates and the fence.
func (b *bench) becomesRight(t *testing.T, before events.Decision) {
	t.Helper()
	wait.Until(t, "the bucket is repaired", func() error {
		kv, err := b.env.JS.KeyValue(t.Context(), "decisions")
		if err != nil {
			return err
		}
		list, err := kv.ListKeys(t.Context())
		if err != nil {
			return err
		}
		keys := map[string]bool{}
		for key := range list.Keys() {
			keys[key] = true
		}
		delete(keys, "acme.export") // not in the plan, which a new owner says
		if len(keys) != 3 || !keys[events.GatesKey] || !keys[records.FenceKey(0)] {
			return fmt.Errorf("it has %v", keys)
		}
		e, err := kv.Get(t.Context(), "acme.api")
		if err != nil {
			return err
		}
		d, err := events.ParseDecision(e.Value())
		if err != nil || !blocked(d) || d.Position < before.Position {
			return fmt.Errorf("the decision is %s", e.Value())
		}
		gates, err := kv.Get(t.Context(), events.GatesKey)
		if err != nil {
			return err
		}
		if g, err := events.ParseGates(gates.Value()); err != nil || g.Partitions != 1 {
			return fmt.Errorf("the gates are %s", gates.Value())
		}
		return nil
	})
}

// A comparison of a bucket that is right changes nothing, also under load.
func TestWhatIsRightIsNotRepaired(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.every = time.Millisecond
	b.run(t)
	for n := range int64(200) {
		b.total(t, openWindow(n%20))
	}
	b.fresh(t, "acme")
	if n := b.repaired.Load(); n > 0 {
		t.Errorf("%d repairs", n)
	}
}
