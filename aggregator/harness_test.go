package aggregator

import (
	"fmt"
	"strconv"
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

// epoch is the time at which the tests' streams begin.
var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// testFolder is a folder without a stream or a log. It keeps the totals that are
// emitted and the dead letters.
type testFolder struct {
	*folder
	t       testing.TB
	dead    []records.Dead
	emitted []string             // totals for the enforcer
	waiting map[*usage]*customer // windows that the next flush emits
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
		emitNow: f.emitWindow,
		reject: func(m *stream.Message, index int, raw []byte, why error) error {
			f.dead = append(f.dead, records.Dead{Origin: fmt.Sprintf("USAGE/%d/%d", m.Seq, index), Reason: why.Error(), At: m.Time, Body: raw})
			return nil
		},
		onCounted: func(fingerprint.Entry) {},
	}
	return f
}

// foldOnly folds one message without a flush.
func (f *testFolder) foldOnly(at time.Time, last string, data []byte) {
	if err := f.fold(&stream.Message{Subject: "usage.p.0." + last, Data: data, Seq: f.position + 1, Time: at}); err != nil {
		f.t.Fatal(err)
	}
}

// send folds one message and flushes.
func (f *testFolder) send(at time.Time, last string, data []byte) {
	f.foldOnly(at, last, data)
	for u, c := range f.waiting {
		if u.emit {
			f.emitWindow(c, u)
		}
		u.emit = false
	}
	clear(f.waiting)
}

func (f *testFolder) emitWindow(c *customer, u *usage) {
	silent := ""
	if u.silent {
		silent = " silent"
	}
	f.emitted = append(f.emitted, fmt.Sprintf("%s/%s=%s%s", c.id(), u.feature.name, u.total(u.feature.gate, c.segments(new([1]gate.Segment)), f.now), silent))
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

// total returns the present total of the feature's newest window.
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

// wantEmitted checks the totals that were emitted since the last call.
func (f *testFolder) wantEmitted(want ...string) {
	f.t.Helper()
	if fmt.Sprint(f.emitted) != fmt.Sprint(want) {
		f.t.Errorf("emitted %q, want %q", f.emitted, want)
	}
	f.emitted = nil
}

// event returns an event of the customer acme.
func event(id, typ string, n int, at time.Time) events.Event {
	return events.Event{ID: id, Source: "s", Type: typ, Subject: "acme", Time: at, Data: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// catalogOfOneGate returns a catalog with the gate "g", which meters "use" and
// allows 10 in the plan "free".
func catalogOfOneGate(how gate.Aggregate, spec gate.WindowSpec) gate.Catalog {
	return gate.Catalog{
		Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "paid", Paid: true}},
		Gates: []gate.Gate{{Feature: "g", Meter: gate.Meter{Event: "use", Aggregate: how, Value: "n"}, Window: spec,
			Limits: map[string]gate.Limit{"free": {Value: events.Count(10)}, "paid": {Unlimited: true}}}},
	}
}

func customerName(i int) string { return "org_" + strconv.Itoa(i) }
