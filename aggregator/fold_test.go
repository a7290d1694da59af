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
type fold struct {
	*folder
	t    testing.TB
	dead []records.Dead
	told []string // totals for the enforcer, as of the end of each message
	emit map[*usage]*customer
}

func newFold(t testing.TB, c gate.Catalog) *fold {
	f := &fold{t: t, emit: map[*usage]*customer{}}
	s := newState()
	s.base, s.hasBase = c, true
	s.setCatalog(c)
	f.folder = &folder{state: s, partitions: 1, horizon: horizon,
		touched: func(c *customer, u *usage) {
			if u != nil && u.emit {
				f.emit[u] = c
			}
		},
		tell: f.flush,
		reject: func(m *stream.Message, index int, raw []byte, why error) error {
			f.dead = append(f.dead, records.Dead{Origin: fmt.Sprintf("USAGE/%d/%d", m.Seq, index), Reason: why.Error(), At: m.Time, Body: raw})
			return nil
		},
		counted: func(fingerprint.Entry) {},
	}
	return f
}

func (f *fold) sendBeforeFlush(at time.Time, last string, data []byte) {
	if err := f.fold(&stream.Message{Subject: "usage.p.0." + last, Data: data, Seq: f.position + 1, Time: at}); err != nil {
		f.t.Fatal(err)
	}
}

// message folds one message and notes what a flush after it would tell.
func (f *fold) message(at time.Time, last string, data []byte) {
	f.sendBeforeFlush(at, last, data)
	for u, c := range f.emit {
		if u.emit {
			f.flush(c, u)
		}
		u.emit = false
	}
	clear(f.emit)
}

func (f *fold) flush(c *customer, u *usage) {
	quiet := ""
	if u.silent {
		quiet = " silent"
	}
	f.told = append(f.told, fmt.Sprintf("%s/%s=%s%s", c.id(), u.feature.name, u.total(u.feature.gate, c.segments(new([1]gate.Segment)), f.now), quiet))
}

func (f *fold) batch(at time.Time, es ...events.Event) { f.message(at, events.BatchToken, pack(es)) }

func (f *fold) imports(at time.Time, es ...events.Event) {
	f.message(at, events.ImportToken, pack(es))
}

func (f *fold) control(at time.Time, typ, customer, id string, data any) {
	f.t.Helper()
	b, err := records.Control(typ, customer, id, data)
	if err != nil {
		f.t.Fatal(err)
	}
	f.message(at, events.ControlToken, b)
}

func pack(es []events.Event) (b []byte) {
	for i := range es {
		b = events.AppendBatch(b, &es[i])
	}
	return b
}

// total is a window's total now; the newest one of the feature.
func (f *fold) total(customer, feature string) string {
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

func (f *fold) wantTotal(customer, feature, want string) {
	f.t.Helper()
	if got := f.total(customer, feature); got != want {
		f.t.Errorf("%s used %s of %s, want %s", customer, got, feature, want)
	}
}

// wantTold says what the enforcer was told since the last call.
func (f *fold) wantTold(want ...string) {
	f.t.Helper()
	if fmt.Sprint(f.told) != fmt.Sprint(want) {
		f.t.Errorf("told %q, want %q", f.told, want)
	}
	f.told = nil
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
