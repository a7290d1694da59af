package aggregator

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

const (
	day     = 24 * time.Hour
	horizon = 32 * day
)

// epoch is when the tests' streams begin.
var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// fold is a partition's fold without a stream or a log: what is told, rejected
// and counted is kept.
type testFolder struct {
	*folder
	t       testing.TB
	dead    []records.Dead
	emitted []string // totals for the enforcer, as of the end of each message
	waiting map[*usage]*customer
}

func newTestFolder(t testing.TB, c gate.Catalog) *testFolder {
	f := &testFolder{t: t, waiting: map[*usage]*customer{}}
	s := newState()
	s.base, s.hasBase = c, true
	s.setCatalog(c)
	f.folder = &folder{state: s, partitions: 1, horizon: horizon,
		onChange: func(c *customer, u *usage) {
			if u != nil && u.emit {
				f.waiting[u] = c
			}
		},
		emitNow: f.flush,
		reject: func(m *stream.Message, index int, raw []byte, why error) error {
			f.dead = append(f.dead, records.Dead{Origin: fmt.Sprintf("USAGE/%d/%d", m.Seq, index), Reason: why.Error(), At: m.Time, Body: raw})
			return nil
		},
		onCounted: func(fingerprint.Entry) {},
	}
	return f
}

func (f *testFolder) foldOnly(at time.Time, last string, data []byte) {
	if err := f.fold(&stream.Message{Subject: "usage.p.0." + last, Data: data, Seq: f.position + 1, Time: at}); err != nil {
		f.t.Fatal(err)
	}
}

// message folds one message and notes what a flush after it would tell.
func (f *testFolder) send(at time.Time, last string, data []byte) {
	f.foldOnly(at, last, data)
	for u, c := range f.waiting {
		if u.emit {
			f.flush(c, u)
		}
		u.emit = false
	}
	clear(f.waiting)
}

func (f *testFolder) flush(c *customer, u *usage) {
	quiet := ""
	if u.silent {
		quiet = " silent"
	}
	f.emitted = append(f.emitted, fmt.Sprintf("%s/%s=%s%s", c.id(), u.feature.name, u.total(u.feature.gate, c.segments(new([1]gate.Segment)), f.now), quiet))
}

func (f *testFolder) sendBatch(at time.Time, es ...events.Event) {
	f.send(at, events.BatchToken, batchOf(es))
}

func (f *testFolder) sendImport(at time.Time, es ...events.Event) {
	f.send(at, events.ImportToken, batchOf(es))
}

func (f *testFolder) sendControl(at time.Time, typ, customer, id string, data any) {
	f.t.Helper()
	b, err := records.Control(typ, customer, id, data)
	if err != nil {
		f.t.Fatal(err)
	}
	f.send(at, events.ControlToken, b)
}

func batchOf(es []events.Event) (b []byte) {
	for i := range es {
		b = events.AppendBatch(b, &es[i])
	}
	return b
}

// total is a window's total now; the newest one of the feature.
func (f *testFolder) total(customer, feature string) string {
	c := f.customers.find(customer)
	if c == nil {
		return "none"
	}
	total := "none"
	for _, u := range c.sortedWindows(nil) {
		if u.feature.name == feature {
			total = u.total(f.features[feature].gate, c.segments(new([1]gate.Segment)), f.storedAt).String()
		}
	}
	return total
}

func (f *testFolder) wantTotal(customer, feature, want string) {
	f.t.Helper()
	if got := f.total(customer, feature); got != want {
		f.t.Errorf("%s used %s of %s, want %s", customer, got, feature, want)
	}
}

// wantTold says what the enforcer was told since the last call.
func (f *testFolder) wantEmitted(want ...string) {
	f.t.Helper()
	if fmt.Sprint(f.emitted) != fmt.Sprint(want) {
		f.t.Errorf("told %q, want %q", f.emitted, want)
	}
	f.emitted = nil
}

func event(id, typ string, n int, at time.Time) events.Event {
	return events.Event{ID: id, Source: "s", Type: typ, Subject: "acme", Time: at, Data: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// oneGate is a catalog of the gate "g" that meters "use", 10 for free ones.
func oneGate(how gate.Aggregate, spec gate.WindowSpec) gate.Catalog {
	return gate.Catalog{
		Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "paid", Paid: true}},
		Gates: []gate.Gate{{Feature: "g", Meter: gate.Meter{Event: "use", Aggregate: how, Value: "n"}, Window: spec,
			Limits: map[string]gate.Limit{"free": {Value: events.Count(10)}, "paid": {Unlimited: true}}}},
	}
}
