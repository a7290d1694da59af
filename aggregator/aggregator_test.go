package aggregator

import (
	"errors"
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

func currentUse(t *testing.T, ws map[string]records.Window, feature string) string {
	t.Helper()
	for _, w := range ws {
		if w.Feature == feature && w.Current {
			return w.Used.String()
		}
	}
	return "none"
}

func TestEventCountsOnce(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	stop, _ := b.run(t, b.env.JS)
	e := events.Event{ID: "1", Source: "s", Type: "api", Subject: "acme"}
	b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	dup := e
	dup.Time = time.Now().Add(-10 * 24 * time.Hour) // still the same event
	e2 := events.Event{ID: "1", Source: "other", Type: "api", Subject: "acme"}
	b.publish(t, "usage.p.0.~batch", events.AppendBatch(events.AppendBatch(events.AppendBatch(nil, &dup), &e2), &e))
	if got := currentUse(t, b.windows(t, "acme"), "api"); got != "2" {
		t.Fatalf("used %s, want 2", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.run(t, b.env.JS)
	b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	if got := currentUse(t, b.windows(t, "acme"), "api"); got != "2" {
		t.Fatalf("used %s after a restart, want 2", got)
	}
	if d := b.deadLetters(t); len(d) != 0 {
		t.Fatalf("dead letters: %v", d)
	}
}

func TestInvalidMessagesBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.run(t, b.env.JS)
	old := events.Event{ID: "o", Type: "api", Subject: "acme", Time: time.Now().Add(-40 * 24 * time.Hour)}
	future := events.Event{ID: "a", Type: "api", Subject: "acme", Time: time.Now().Add(time.Hour)}
	bad := []struct{ token, body, reason string }{
		{"acme", `{`, "not JSON"},
		{"acme", `[]`, "an array"},
		{"acme", `{"type":1}`, "`type` must be a string"},
		{"acme", `{"subject":"acme"}`, "`type` is missing"},
		{"acme", `{"type":"api","subject":"other"}`, "its subject is the customer"},
		{"acme", `{"type":"tidegate.config"}`, "Tidegate's own"},
		{"acme", `{"type":"tokens","id":"t"}`, "needs a number"},
		{"acme", `{"type":"tokens","id":"t","data":{"n":-1}}`, "negative"},
		{"acme", `{"type":"tokens","id":"t","data":{"n":"NaN"}}`, "not a number"},
		{"acme", `{"type":"tokens","id":"t","data":{"n":1e30}}`, "not a number"},
		{"acme", "{\"type\":\"\xff\"}", "UTF-8"},
		{"acme", string(old.AppendJSON(nil)), "tidegate import"},
		{"acme", string(future.AppendJSON(nil)), "future"},
	}
	for _, m := range bad {
		b.publish(t, "usage.in."+m.token, []byte(m.body))
	}
	b.publish(t, "usage.p.0.~batch", []byte{1, 2, 3})
	good := events.Event{ID: "t", Type: "tokens", Subject: "acme", Data: []byte(`{"n":2.5}`)}
	b.publish(t, "usage.in.acme", good.AppendJSON(nil)) // the invalid events with this id left no fingerprint
	ws := b.windows(t, "acme")
	if got := currentUse(t, ws, "tokens"); got != "2.5" {
		t.Fatalf("used %s, want 2.5", got)
	}
	dead := b.deadLetters(t)
	if len(dead) != len(bad)+1 {
		t.Fatalf("%d dead letters, want %d", len(dead), len(bad)+1)
	}
	for i, m := range bad {
		if !strings.Contains(dead[i].Reason, m.reason) || string(dead[i].Body) != m.body {
			t.Errorf("%s: %q, want a reason with %q", m.body, dead[i].Reason, m.reason)
		}
	}
}

func TestImportOfOldEventCountsOnce(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.run(t, b.env.JS)
	e := events.Event{ID: "1", Type: "api", Subject: "acme", Time: time.Now().AddDate(-1, 0, 0)}
	b.publish(t, "usage.p.0.~import", events.AppendBatch(nil, &e))
	b.publish(t, "usage.p.0.~import", events.AppendBatch(nil, &e))
	n := int64(0)
	for _, w := range b.windows(t, "acme") {
		n += w.Events
	}
	if n != 1 {
		t.Fatalf("%d events counted, want 1", n)
	}
}

func TestDocumentsAreWrittenAfterStoreOutage(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.store.down = true
	b.run(t, b.env.JS)
	for i := range 5 {
		e := events.Event{ID: fmt.Sprint(i), Type: "api", Subject: "acme"}
		b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	}
	if got := currentUse(t, b.windows(t, "acme"), "api"); got != "5" {
		t.Fatalf("used %s without a store, want 5", got)
	}
	b.store.mu.Lock()
	b.store.down = false
	b.store.mu.Unlock()
	eventually(t, func() bool {
		for _, w := range b.store.all() {
			return w.Used == events.Count(5) && w.Limit == events.Some(events.Count(10)) && w.Plan == "free" && w.Current
		}
		return false
	})
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("still false after a minute")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestConfigurationAppliesFromItsPlaceInTheStream(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	stop, _ := b.run(t, b.env.JS)
	e := events.Event{ID: "1", Type: "extra", Subject: "acme"}
	b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	if ws := b.windows(t, "acme"); len(ws) != 0 {
		t.Fatalf("an event that no gate meters made %v", ws)
	}
	next := catalog()
	next.Gates = append(next.Gates, gate.Gate{Feature: "extra", Meter: gate.Meter{Event: "extra", Aggregate: gate.Count}, Window: next.Gates[0].Window})
	b.catalog.Store(next)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.run(t, b.env.JS)
	i := 1
	eventually(t, func() bool { // until the new configuration has been folded
		i++
		e.ID = fmt.Sprint(i)
		b.publish(t, "usage.in.acme", e.AppendJSON(nil))
		return currentUse(t, b.windows(t, "acme"), "extra") != "none"
	})
	if res := b.verify(t); len(res.Differences) != 0 {
		t.Fatalf("replay: %+v", res)
	}
}

func TestPlanControlCutsWindow(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.run(t, b.env.JS)
	e := events.Event{ID: "1", Type: "api", Subject: "acme"}
	b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	before := b.windows(t, "acme")
	from := time.Now().UTC().Truncate(time.Millisecond)
	c, err := records.Control(records.ControlPlan, "acme", "account/1", records.PlanControl{Plan: "paid", From: from, Cut: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.publish(t, "usage.p.0.~control", c)
	}
	e.ID = "2"
	b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	after := b.windows(t, "acme")
	if len(before) != 1 || len(after) != 2 {
		t.Fatalf("windows: %v, then %v", before, after)
	}
	for id, w := range after {
		if _, old := before[id]; old && (!w.End.Equal(from) || w.Used != events.Count(1) || w.Plan != "free" || !w.Limit.Valid) || !old && (!w.Start.Equal(from) || w.Plan != "paid") {
			t.Errorf("%s: %+v", id, w)
		}
	}
}

func TestFingerprintsInSeenSurviveRestart(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	b.sizes = fingerprint.Sizes{Chunk: 1000, Page: 300, Fanout: 3, Cache: 4}
	stop, _ := b.run(t, b.env.JS)
	var batches [][]byte
	for i := range 5000 {
		if i%500 == 0 {
			batches = append(batches, nil)
		}
		e := events.Event{ID: fmt.Sprint(i), Type: "api", Subject: "acme"}
		batches[len(batches)-1] = events.AppendBatch(batches[len(batches)-1], &e)
	}
	for range 2 { // the second time, after a restart, all are duplicates
		for _, body := range batches {
			b.publish(t, "usage.p.0.~batch", body)
		}
		if got := currentUse(t, b.windows(t, "acme"), "api"); got != "5000" {
			t.Fatalf("used %s, want 5000", got)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		stop, _ = b.run(t, b.env.JS)
	}
	s, err := b.env.JS.Stream(t.Context(), events.StreamSeen)
	if err != nil || s.CachedInfo().State.Msgs == 0 {
		t.Fatalf("nothing in SEEN: %v", err)
	}
}

func TestStaleOwnerIsFenced(t *testing.T) {
	t.Parallel()
	b := startPartition(t)
	_, stale := b.run(t, b.env.JS)
	fresh, _ := b.run(t, b.env.JS)
	for i := range 10 {
		e := events.Event{ID: fmt.Sprint(i), Type: "api", Subject: "acme"}
		b.publish(t, "usage.in.acme", e.AppendJSON(nil))
	}
	if err := <-stale; !errors.Is(err, stream.ErrFenced) {
		t.Fatalf("stale owner: %v", err)
	}
	if got := currentUse(t, b.windows(t, "acme"), "api"); got != "10" {
		t.Fatalf("used %s, want 10", got)
	}
	if err := fresh(); err != nil {
		t.Fatal(err)
	}
	if res := b.verify(t); len(res.Differences) != 0 {
		t.Fatalf("replay: %+v", res)
	}
}
