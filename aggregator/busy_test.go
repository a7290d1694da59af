package aggregator

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/wire"
)

var rollingMonth = gate.WindowSpec{Kind: gate.Rolling, Days: 30}

// busy is a partition whose customer acme used the gate in each of the last
// hours, 10 times an hour, and is at half its limit.
func busyPartition(t testing.TB, how gate.Aggregate, hours int) *Processor {
	cat := oneGate(how, rollingMonth)
	cat.Gates[0].Limits["free"] = gate.Limit{Value: events.Count(int64(hours) * 5)}
	cat.Gates[0].Limits["large"] = gate.Limit{Value: events.Count(1 << 40)}
	p := offline(cat, func() time.Time { return epoch })
	p.f.reject = failOnReject
	p.begin()
	for h := range hours {
		var es []events.Event
		for i := range 10 {
			es = append(es, event(fmt.Sprint("before", h, "-", i), "use", h*10+i, epoch.Add(time.Duration(h)*time.Hour)))
		}
		p.fold(t, epoch.Add(time.Duration(h)*time.Hour), es)
	}
	return p
}

// fold folds a packed message, and flushes into nothing.
func (p *Processor) fold(t testing.TB, now time.Time, es []events.Event) (told int) {
	if err := p.Handle(&stream.Message{Subject: "usage.p.0.~batch", Data: batchOf(es), Seq: p.f.position + 1, Time: now}); err != nil {
		t.Fatal(err)
	}
	for _, e := range p.emissions {
		if e.u.emit {
			told++
		}
		e.u.emit = false
	}
	p.emissions = p.emissions[:0]
	return told
}

// TestABusyCustomerTakesNoMoreThanItsEvents: what is told and committed of a
// customer who sends half of all events does not grow with them, nor with what
// the window holds already.
func TestABusyCustomerTakesNoMoreThanItsEvents(t *testing.T) {
	for _, how := range []gate.Aggregate{gate.Sum, gate.Max, gate.Unique} {
		p := busyPartition(t, how, 720)
		if _, err := p.Commit(); err != nil {
			t.Fatal(err)
		}
		now := epoch.Add(719 * time.Hour)
		for round := range 3 {
			var es []events.Event
			for i := range 500 {
				e := event(fmt.Sprint("now", round, "-", i), "use", i%10, now)
				if i%2 == 0 {
					e.Subject = benchCustomer(i)
				}
				es = append(es, e)
			}
			told := p.fold(t, now, es)
			if want := 1; round > 0 && told > want { // the others' windows were opened before
				t.Errorf("%s: %d totals told of one window", how, told)
			}
			b, err := p.Commit()
			if err != nil {
				t.Fatal(err)
			}
			var r record
			if err := wire.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			for _, w := range r.Windows {
				if len(w.Buckets) > 11 { // the current one, and those that values of a unique count came from
					t.Errorf("%s: %d buckets of %s committed", how, len(w.Buckets), w.Customer)
				}
			}
			if len(r.Windows) != 251 {
				t.Errorf("%s: %d windows committed", how, len(r.Windows))
			}
		}
	}
}

// BenchmarkBusyCustomer is what events of one customer cost whose rolling
// window holds one bucket or as many as it can.
func BenchmarkBusyCustomer(b *testing.B) {
	for _, how := range []gate.Aggregate{gate.Sum, gate.Max, gate.Unique} {
		for _, hours := range []int{1, 720} {
			b.Run(fmt.Sprint(how, "-", hours, "-buckets"), func(b *testing.B) {
				p := busyPartition(b, how, hours)
				now, round := epoch.Add(time.Duration(hours-1)*time.Hour), 0
				for b.Loop() {
					b.StopTimer()
					var es []events.Event
					for i := range 500 {
						es = append(es, event(fmt.Sprint("now", round, "-", i), "use", i%10, now))
					}
					round++
					b.StartTimer()
					p.fold(b, now, es)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/event")
			})
		}
	}
}
