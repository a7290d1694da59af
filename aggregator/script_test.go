package aggregator

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/wire"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// everyGate is a catalog with every aggregate and kind of window.
func everyGate() gate.Catalog {
	c := gate.Catalog{Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "paid", Paid: true}}}
	specs := map[string]gate.WindowSpec{"anniversary": {Kind: gate.Anniversary, Days: 7}, "rolling": {Kind: gate.Rolling, Days: 2},
		"month": {Kind: gate.Calendar, Month: true}}
	for _, how := range []gate.Aggregate{gate.Count, gate.Sum, gate.Max, gate.Unique} {
		for _, name := range []string{"anniversary", "rolling", "month"} {
			c.Gates = append(c.Gates, gate.Gate{Feature: name + "-" + string(how), Window: specs[name],
				Meter:  gate.Meter{Event: "use", Aggregate: how, Value: "n", Cap: 6},
				Limits: map[string]gate.Limit{"free": {Value: events.Count(20)}, "paid": {Unlimited: true}}})
		}
	}
	return c
}

// message is a step of a script.
type message struct {
	at   time.Time
	last string
	data []byte
}

var customers = []string{"acme", "ada@b.c"}

// script draws messages as a stream might hold them: usage, late usage,
// repetitions, history, and everything that changes the fold.
func script(t *rapid.T) (ms []message) {
	now, sent := epoch, []events.Event(nil)
	for range rapid.IntRange(1, 25).Draw(t, "messages") {
		now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Second, 20 * time.Minute, 3 * time.Hour, 2 * day, 20 * day, 40 * day}).Draw(t, "later"))
		customer := rapid.SampledFrom(customers).Draw(t, "customer")
		id := strconv.Itoa(len(ms))
		from := now.Add(-rapid.SampledFrom([]time.Duration{0, time.Second, 5 * time.Hour, 3 * day}).Draw(t, "since")) // the enforcer may have been away
		switch kind := rapid.IntRange(0, 11).Draw(t, "kind"); kind {
		case 0, 1:
			p := records.PlanControl{Plan: rapid.SampledFrom([]string{"", "free", "paid"}).Draw(t, "plan"), From: from, Cut: kind == 1}
			ms = append(ms, control(now, records.ControlPlan, customer, id, p))
		case 2:
			ago := time.Duration(rapid.IntRange(0, 300).Draw(t, "ago")) * time.Hour
			ms = append(ms, control(now, records.ControlAnchor, customer, id, records.AnchorControl{From: from, Anchor: now.Add(-ago)}))
		case 3:
			o := &gate.Override{Limit: new(events.Value), At: &now}
			o.Limit.Units = rapid.Int64Range(0, 40).Draw(t, "limit")
			ms = append(ms, control(now, records.ControlOverride, customer, id,
				records.OverrideControl{Feature: "rolling-sum", Override: rapid.SampledFrom([]*gate.Override{nil, o}).Draw(t, "override")}))
		case 4:
			c := everyGate()
			c.Gates = c.Gates[rapid.IntRange(0, 3).Draw(t, "gates"):]
			ms = append(ms, control(now, records.ControlConfig, "", id, c))
		default:
			last, oldest := events.BatchToken, 31*day
			if kind == 5 {
				last, oldest = events.ImportToken, 200*day
			}
			var es []events.Event
			for range rapid.IntRange(1, 4).Draw(t, "events") {
				es = append(es, usageEvent(t, customer, now, oldest, &sent))
			}
			ms = append(ms, message{now, last, batchOf(es)})
		}
	}
	return ms
}

func usageEvent(t *rapid.T, customer string, now time.Time, oldest time.Duration, sent *[]events.Event) events.Event {
	e := events.Event{ID: strconv.Itoa(len(*sent)), Source: "s", Type: "use", Subject: customer}
	if len(*sent) > 0 && rapid.IntRange(0, 4).Draw(t, "repeat") == 0 {
		e = rapid.SampledFrom(*sent).Draw(t, "event")
	}
	e.Data = fmt.Appendf(nil, `{"n":%d}`, rapid.IntRange(0, 9).Draw(t, "n"))
	e.Time = time.Time{}
	if rapid.Bool().Draw(t, "dated") {
		e.Time = now.Add(3*time.Minute - time.Duration(rapid.Int64Range(0, int64(oldest/time.Minute)).Draw(t, "age"))*time.Minute)
	}
	*sent = append(*sent, e)
	return e
}

func control(at time.Time, typ, customer, id string, data any) message {
	b, err := records.Control(typ, customer, id, data)
	if err != nil {
		panic(err)
	}
	return message{at, events.ControlToken, b}
}

func (f *testFolder) play(ms []message) {
	for _, m := range ms {
		f.send(m.at, m.last, m.data)
	}
}

func marshal(t failer, v any) []byte {
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type failer interface{ Fatal(...any) }

// away is a server that cannot be reached.
type unreachable struct{ jetstream.JetStream }

func (unreachable) Publish(context.Context, string, []byte, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return nil, nats.ErrNoServers
}

// offline is a processor without a server: nothing is published, and
// fingerprints stay in the log.
func offline(c gate.Catalog, now func() time.Time) *Processor {
	p := New(Options{Partitions: 1, Horizon: horizon, Catalog: func() *gate.Catalog { return &c }, Now: now}, 0)
	p.own(context.Background(), &stream.Owner{JS: unreachable{}, Epoch: 1})
	p.f.reject = ignoreReject
	p.docs.writer = writeback.New((*records.Window).ID, func(context.Context, []records.Window) error { return nil }, slog.New(slog.DiscardHandler))
	return p
}

// refuse is a rejecter for tests whose events must all count.
func failOnReject(_ *stream.Message, _ int, _ []byte, why error) error { return why }

// begin is what Start does to the state of a new partition.
func (p *Processor) begin() {
	if !p.f.hasBase {
		p.f.base, p.f.hasBase, p.baseNew = *p.opt.Catalog(), true, true
		p.f.setCatalog(p.f.base)
	}
	p.logged.catalog = catalogJSON(p.f.catalog)
}

func benchCustomer(i int) string { return "org_" + strconv.Itoa(i) }

func BenchmarkFold(b *testing.B) {
	for _, c := range []struct {
		name string
		how  gate.Aggregate
		spec gate.WindowSpec
	}{
		{"anniversary-count", gate.Count, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}},
		{"anniversary-sum", gate.Sum, gate.WindowSpec{Kind: gate.Anniversary, Days: 30}},
		{"rolling-sum", gate.Sum, gate.WindowSpec{Kind: gate.Rolling, Days: 30}},
	} {
		b.Run(c.name, func(b *testing.B) {
			const customers, each, messages = 100_000, 100, 1000
			cat := oneGate(c.how, c.spec)
			cat.Gates[0].Limits["free"] = gate.Limit{Value: events.Count(1 << 40)}
			f := newTestFolder(b, cat)
			msgs := make([][]byte, messages)
			for i := range msgs {
				var es []events.Event
				for k := range each {
					e := event("0197a3c2-5f1e-7b02-"+strconv.Itoa(i*each+k), "use", k, epoch)
					e.Subject = benchCustomer((i*each + k) * 7919 % customers)
					es = append(es, e)
				}
				msgs[i] = batchOf(es)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%messages == 0 { // each round is one of new events
					f.seen.Reset()
				}
				f.foldOnly(epoch.Add(time.Duration(n/messages)*time.Second), events.BatchToken, msgs[n%messages])
				clear(f.waiting)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/each, "ns/event")
			if len(f.dead) > 0 {
				b.Fatal(f.dead[0].Reason)
			}
		})
	}
}
