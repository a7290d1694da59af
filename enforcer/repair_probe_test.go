package enforcer

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// partLosses take some of the bucket away: its end and the fence stay.
var partLosses = map[string]func(t *testing.T, s jetstream.Stream) error{
	"a key purged": func(t *testing.T, s jetstream.Stream) error {
		return s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.decisions.acme.api"))
	},
	"the gates purged": func(t *testing.T, s jetstream.Stream) error {
		return s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.decisions."+events.GatesKey))
	},
}

// TestALossInTheMiddleIsNoticedSoon: long before the next comparison.
func TestALossInTheMiddleIsNoticedSoon(t *testing.T) {
	t.Parallel()
	for name, lose := range partLosses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.every, b.compare = 50*time.Millisecond, time.Hour
			b.runForever(t)
			b.total(t, openWindow(10))
			before := b.bucket(t, "acme.api", blocked)
			b.fresh(t, "acme")
			b.probed(t)
			s, err := b.env.JS.Stream(t.Context(), "KV_decisions")
			if err != nil {
				t.Fatal(err)
			}
			if err := lose(t, s); err != nil {
				t.Fatal(err)
			}
			b.becomesRight(t, before)
		})
	}
}

// probed waits for two probes: the second began after the call.
func (b *bench) probed(t *testing.T) {
	t.Helper()
	sub, err := b.env.NC.SubscribeSync("$JS.API.STREAM.INFO.KV_decisions")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for range 3 {
		if _, err := sub.NextMsg(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPositionFromAboveIsOutdone: an app never takes a decision with a lower position
// than the one it has, unless the key was deleted.
func TestAPositionFromAboveIsOutdone(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "running", true: "stopped"}[restart], func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.every = 50 * time.Millisecond
			stop := b.runForever(t)
			b.total(t, openWindow(10))
			d := b.bucket(t, "acme.api", blocked)
			b.fresh(t, "acme")
			if restart {
				stop()
			}
			w, err := b.kv.Watch(t.Context(), "acme.api", jetstream.UpdatesOnly())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = w.Stop() }()
			d.Allowed, d.Position = true, 1<<52
			value, err := json.Marshal(d)
			if err := errors.Join(err, b.overwrite(t, "acme.api", value)); err != nil {
				t.Fatal(err)
			}
			if restart {
				b.runForever(t)
			}
			shown := events.Decision{}
			for late := time.After(time.Minute); shown.Position == 0 || shown.Allowed; {
				select {
				case e := <-w.Updates():
					shown = show(t, shown, e)
				case <-late:
					t.Fatalf("apps show %+v", shown)
				}
			}
		})
	}
}

// show returns what an app shows after an update.
func show(t *testing.T, shown events.Decision, e jetstream.KeyValueEntry) events.Decision {
	t.Helper()
	if e == nil {
		return shown
	}
	if e.Operation() != jetstream.KeyValuePut {
		return events.Decision{}
	}
	d, err := events.ParseDecision(e.Value())
	if err != nil {
		t.Fatal(err)
	}
	if d.Position < shown.Position {
		return shown
	}
	return d
}
