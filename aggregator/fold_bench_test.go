package aggregator

import (
	"strconv"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

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
			cat := catalogOfOneGate(c.how, c.spec)
			cat.Gates[0].Limits["free"] = gate.Limit{Value: events.Count(1 << 40)}
			f := newTestFolder(b, cat)
			msgs := make([][]byte, messages)
			for i := range msgs {
				var es []events.Event
				for k := range each {
					e := event("0197a3c2-5f1e-7b02-"+strconv.Itoa(i*each+k), "use", k, epoch)
					e.Subject = customerName((i*each + k) * 7919 % customers)
					es = append(es, e)
				}
				msgs[i] = batchOf(es)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%messages == 0 { // so that the events of each round count
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
