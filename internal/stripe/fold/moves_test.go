package fold

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// history collects Stripe's events about a customer's subscriptions.
type history struct {
	at  time.Time
	evs [][]byte
}

func (h *history) wait(d time.Duration) *history { h.at = h.at.Add(d); return h }

func (h *history) event(kind string, object fields) *history {
	b, _ := json.Marshal(fields{"id": fmt.Sprintf("evt_%03d", len(h.evs)), "object": "event", "type": kind, "created": h.at.Unix(),
		"data": fields{"object": object}})
	h.evs = append(h.evs, b)
	return h
}

// sub adds an event of a subscription, which was created at its first event.
func (h *history) sub(id, price, status string) *history {
	kind, created := "customer.subscription.created", h.at
	for _, b := range h.evs {
		var e struct {
			Data struct {
				Object struct {
					ID      string
					Created int64
				}
			}
		}
		if json.Unmarshal(b, &e) == nil && e.Data.Object.ID == id {
			kind, created = "customer.subscription.updated", time.Unix(e.Data.Object.Created, 0)
			break
		}
	}
	return h.event(kind, fields{"id": id, "object": "subscription", "customer": "cus_1", "status": status, "created": created.Unix(),
		"metadata": fields{DefaultCustomerKey: "acme"}, "current_period_end": h.at.AddDate(0, 2, 0).Unix(),
		"items": fields{"data": []fields{{"price": fields{"id": price, "lookup_key": map[string]any{"price_pro": "pro_monthly"}[price]}}}}})
}

// paid adds a paid invoice that names the charged prices.
func (h *history) paid(id string, amount int64, charged ...string) *history {
	lines := []fields{}
	for _, price := range charged {
		lines = append(lines, fields{"amount": amount, "price": fields{"id": price, "lookup_key": "pro_monthly"}})
	}
	return h.event("invoice.paid", fields{"id": "in_" + id, "object": "invoice", "customer": "cus_1", "subscription": id, "amount_paid": amount, "lines": fields{"data": lines},
		"currency": "usd", "billing_reason": "subscription_cycle", "created": h.at.Unix()})
}

// none drops what the processor publishes.
type none struct{}

func (none) Publish(*nats.Msg, ...jetstream.PublishOpt) error { return nil }

// emittedMoves returns the moves and payments that a consumer of all changes ends up
// with, and their kinds in order. It fails when the state has other ones.
func emittedMoves(t interface{ Fatal(...any) }, evs [][]byte, until time.Time) (emitted map[string]string, kinds []string) {
	p := NewProcessor(testConfig(), 1, newMemoryStore())
	ctx, cancel := context.WithCancel(context.Background())
	p.start(ctx, events.Names{}, slog.New(slog.DiscardHandler), none{})
	defer func() { cancel(); <-p.done }()
	for i, b := range evs {
		m := &stream.Message{Subject: p.names.Billing(string(KindStripe)), Data: b, Seq: uint64(i + 1), Time: until}
		if err := p.Handle(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Tick(until); err != nil {
		t.Fatal(err)
	}
	emitted = map[string]string{}
	moves := map[string]records.Move{}
	for _, m := range p.queue {
		var a records.Account
		if err := json.Unmarshal(m.Data, &a); err != nil {
			t.Fatal(err)
		}
		if x := a.Move; x != nil {
			moves[x.Key] = *x
			emitted[x.Key] = fmt.Sprintf("%s %s→%s %v %s", x.Kind, x.FromPlan, x.ToPlan, x.At.Sub(t0), x.Event)
			if x.Void {
				delete(emitted, x.Key)
				delete(moves, x.Key)
			}
		}
		if x := a.Payment; x != nil {
			emitted[x.Key] = fmt.Sprintf("%s %s→%s %v %s %d", x.Kind, x.FromPlan, x.ToPlan, x.At.Sub(t0), x.Event, x.Amount)
			if x.Void {
				delete(emitted, x.Key)
			}
		}
	}
	if holds := p.state.Moves("acme"); len(holds) != len(moves) {
		t.Fatal("emitted", moves, "holds", holds)
	}
	for _, key := range slices.SortedFunc(maps.Keys(emitted), func(a, b string) int {
		return strings.Compare(emitted[a][strings.LastIndex(emitted[a], "evt"):], emitted[b][strings.LastIndex(emitted[b], "evt"):])
	}) {
		kinds = append(kinds, strings.Join(strings.Fields(emitted[key])[:2], " "))
	}
	return emitted, kinds
}

func histories() map[string]struct {
	h    *history
	want string
} {
	start := func() *history { return &history{at: t0} }
	const day = 24 * time.Hour
	return map[string]struct {
		h    *history
		want string
	}{
		"bought":      {start().sub("sub_1", "price_pro", "incomplete").paid("sub_1", 2000).sub("sub_1", "price_pro", "active"), "conversion free→pro"},
		"for nothing": {start().sub("sub_1", "price_pro", "active").paid("sub_1", 0), ""},
		"trial, then paid": {start().sub("sub_1", "price_pro", "trialing").paid("sub_1", 0).wait(14*day).
			paid("sub_1", 2000).sub("sub_1", "price_pro", "active"), "trial free→pro, conversion free→pro"},
		"trial lapsed": {start().sub("sub_1", "price_pro", "trialing").wait(14*day).sub("sub_1", "price_pro", "canceled"), "trial free→pro"},
		"trial lapsed, bought later": {start().sub("sub_1", "price_pro", "trialing").wait(14*day).sub("sub_1", "price_pro", "canceled").wait(day).
			sub("sub_2", "price_pro", "active").paid("sub_2", 2000), "trial free→pro, conversion free→pro"},
		"up and down": {start().sub("sub_1", "price_pro", "active").paid("sub_1", 2000).wait(day).sub("sub_1", "price_team", "active").wait(day).
			sub("sub_1", "price_pro", "active"), "conversion free→pro, upgrade pro→team, downgrade team→pro"},
		"churn and back": {start().sub("sub_1", "price_pro", "active").paid("sub_1", 2000).wait(day).sub("sub_1", "price_pro", "canceled").wait(day).
			sub("sub_2", "price_team", "active").paid("sub_2", 9000), "conversion free→pro, churn pro→free, reactivation free→team"},
		"the same one back": {start().sub("sub_1", "price_pro", "active").paid("sub_1", 2000).wait(day).sub("sub_1", "price_pro", "unpaid").wait(day).
			sub("sub_1", "price_pro", "active").paid("sub_1", 2000), "conversion free→pro, churn pro→free, reactivation free→pro"},
		"late and paid": {start().sub("sub_1", "price_pro", "active").paid("sub_1", 2000).wait(day).sub("sub_1", "price_pro", "past_due").wait(day).
			sub("sub_1", "price_pro", "active"), "conversion free→pro"},
		"late for too long": {start().sub("sub_1", "price_pro", "active").paid("sub_1", 2000).wait(day).sub("sub_1", "price_pro", "past_due").wait(20 * day),
			"conversion free→pro, churn pro→free"},
		"one of two ends": {start().sub("sub_1", "price_pro", "active").paid("sub_1", 2000).sub("sub_2", "price_pro", "active").wait(day).
			sub("sub_1", "price_pro", "canceled"), "conversion free→pro"},
	}
}

func TestMoves(t *testing.T) {
	t.Parallel()
	for name, c := range histories() {
		t.Run(name, func(t *testing.T) {
			_, kinds := emittedMoves(t, c.h.evs, c.h.at.Add(time.Hour))
			if got := strings.Join(kinds, ", "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestMovesInAnyOrder: any order and any repetition of the events ends in the same
// records.
func TestMovesInAnyOrder(t *testing.T) {
	t.Parallel()
	all := histories()
	names := slices.Sorted(maps.Keys(all))
	rapid.Check(t, func(rt *rapid.T) {
		h := all[rapid.SampledFrom(names).Draw(rt, "history")].h
		want, _ := emittedMoves(rt, h.evs, h.at.Add(time.Hour))
		evs := rapid.Permutation(h.evs).Draw(rt, "order")
		for range rapid.IntRange(0, 3).Draw(rt, "repeats") {
			i := rapid.IntRange(0, len(evs)).Draw(rt, "where")
			evs = slices.Insert(slices.Clone(evs), i, rapid.SampledFrom(h.evs).Draw(rt, "what"))
		}
		if got, _ := emittedMoves(rt, evs, h.at.Add(time.Hour)); !reflect.DeepEqual(got, want) {
			rt.Fatalf("got  %v\nwant %v", got, want)
		}
	})
}

// TestMovesOutliveTheirVersions: an old move is not taken back when its versions
// have been summed up.
func TestMovesOutliveTheirVersions(t *testing.T) {
	t.Parallel()
	h := (&history{at: t0}).sub("sub_1", "price_pro", "active").paid("sub_1", 2000, "price_pro").wait(time.Hour).sub("sub_1", "price_team", "active")
	for range maxVersions + 10 {
		h.wait(time.Minute).sub("sub_1", "price_team", "past_due").wait(time.Minute).sub("sub_1", "price_team", "active")
	}
	if _, kinds := emittedMoves(t, h.evs, h.at); strings.Join(kinds, ", ") != "conversion free→pro, upgrade pro→team" {
		t.Errorf("got %v", kinds)
	}
}
