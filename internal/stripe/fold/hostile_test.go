package fold

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// oddValues stand in a webhook where something else should.
var oddValues = []any{
	nil, true, "", "\u0000", strings.Repeat("x", 5000), -1.0, 1e308, 9007199254740993.0, []any{}, map[string]any{}, []any{nil, []any{[]any{}}},
	"9999-12-31T23:59:59-12:00", map[string]any{"id": map[string]any{}}, "cus_1",
}

// oddities returns copies of a JSON value in each of which one place has an odd value:
// another one at each place, because all of them take minutes.
func oddities(v any, turn *int) (all []any) {
	next := func() any {
		*turn++
		return oddValues[*turn%len(oddValues)]
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			for _, odd := range append(oddities(v[k], turn), next(), next()) {
				c := maps.Clone(v)
				c[k] = odd
				all = append(all, c)
			}
		}
	case []any:
		for i := range v {
			for _, odd := range append(oddities(v[i], turn), next()) {
				c := slices.Clone(v)
				c[i] = odd
				all = append(all, c)
			}
		}
	}
	return all
}

// hostile is a processor that gets odd records.
type hostile struct {
	p    *Processor
	n    uint64
	stop func()
}

func startHostile(t testing.TB, snapshot []byte) *hostile {
	ctx, cancel := context.WithCancel(context.Background())
	p := NewProcessor(testConfig(), testPartitions, &forgetful{})
	if err := p.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	p.start(ctx, events.Names{}, slog.New(slog.DiscardHandler), &outbox{})
	return &hostile{p: p, stop: func() { cancel(); <-p.done }}
}

// forgetful is a store that keeps nothing.
type forgetful struct{ Store }

func (forgetful) WriteSubscriptions(context.Context, []records.Subscription) error { return nil }

// take handles a record as an owner does. Only a rejection is an error that a message
// may lead to.
func (h *hostile) take(t testing.TB, kind string, body []byte) {
	h.n++
	at := t0.AddDate(0, 0, int(h.n%30))
	err := h.p.Handle(&stream.Message{Subject: "billing." + kind, Data: body, Seq: h.n, Time: at})
	if err != nil && !stream.IsRejected(err) {
		t.Fatalf("%s %.300q: %v", kind, body, err)
	}
	if err := h.p.Flush(); err != nil {
		t.Fatalf("%s %.300q: flush: %v", kind, body, err)
	}
}

// settle does what follows later.
func (h *hostile) settle(t testing.TB, body []byte) {
	if _, err := h.p.Tick(t0.AddDate(2, 0, 0)); err != nil {
		t.Fatalf("%.300q: tick: %v", body, err)
	}
	for _, err := range h.p.state.Failed() {
		t.Fatalf("%.300q: %v", body, err)
	}
	if _, err := h.p.Commit(); err != nil {
		t.Fatalf("%.300q: commit: %v", body, err)
	}
	snapshot, err := h.p.Snapshot()
	if err != nil {
		t.Fatalf("%.300q: snapshot: %v", body, err)
	}
	again := startHostile(t, snapshot)
	again.stop()
	for _, err := range again.p.state.Failed() {
		t.Fatalf("%.300q: taken over: %v", body, err)
	}
}

// sampleEvents returns one event of each type and version.
func sampleEvents(t testing.TB) map[string][]byte {
	samples := map[string][]byte{}
	for version, scs := range versions() {
		for _, sc := range scs {
			for _, s := range sc.shops {
				for _, b := range s.evs {
					e, err := ParseEnvelope(b)
					if err != nil {
						t.Fatal(err)
					}
					samples[fmt.Sprint(version, e.Type)] = b
				}
			}
		}
	}
	for i, b := range thinEvents(t) {
		samples[fmt.Sprint("thin", i)] = b
	}
	return samples
}

// TestOddWebhooksArePassedOver puts odd values into every place of an event of each type,
// signed or fetched.
func TestOddWebhooksArePassedOver(t *testing.T) {
	t.Parallel()
	for name, body := range sampleEvents(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var event any
			if err := json.Unmarshal(body, &event); err != nil {
				t.Fatal(err)
			}
			h := startHostile(t, nil)
			defer func() { h.stop() }()
			for i, odd := range oddities(event, new(int)) {
				m := odd.(map[string]any)
				if i%25 == 0 { // a customer with many subscriptions takes long
					h.settle(t, body)
					h.stop()
					h = startHostile(t, nil)
					h.take(t, "map", []byte(`{"customer":"acme","stripe_customer":"cus_1"}`))
				}
				if _, sane := m["id"].(string); sane {
					m["id"] = fmt.Sprint("evt_odd_", i) // else it is a duplicate
				}
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				h.take(t, "stripe", b)
				if data, ok := m["data"].(map[string]any); ok {
					if object, ok := data["object"].(map[string]any); ok {
						fetched, err := json.Marshal(map[string]any{"type": object["object"], "id": object["id"], "at": t0, "object": object})
						if err != nil {
							t.Fatal(err)
						}
						h.take(t, "fetched", fetched)
					}
				}
			}
			h.settle(t, body)
		})
	}
}

// FuzzBilling handles two records of any kind, one after the other.
func FuzzBilling(f *testing.F) {
	samples := sampleEvents(f)
	var before []byte
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		f.Add("stripe", samples[name], before)
		before = samples[name]
	}
	f.Add("map", []byte(`{"customer":"acme","stripe_customer":"cus_1"}`), before)
	f.Add("fetched", []byte(`{"type":"subscription","id":"sub_1","at":"2026-03-01T12:00:00Z","object":{"id":"sub_1","object":"subscription"}}`), before)
	f.Fuzz(func(t *testing.T, kind string, first, second []byte) {
		h := startHostile(t, nil)
		defer h.stop()
		h.take(t, "map", []byte(`{"customer":"acme","stripe_customer":"cus_1"}`))
		h.take(t, "stripe", first)
		h.take(t, kind, second)
		h.settle(t, first)
	})
}
