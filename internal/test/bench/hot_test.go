package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
)

// BenchmarkHotCustomer measures the time from a customer's use to the block in an app, at
// one partition and 10,000 uses a second. Half of the uses belong to one customer or,
// for comparison, each to another customer.
func BenchmarkHotCustomer(b *testing.B) {
	for _, hot := range []bool{false, true} {
		name := map[bool]string{false: "even", true: "hot"}[hot]
		b.Run(name, func(b *testing.B) {
			a, c := narrow(b)
			_, js := connectBench(b, a.NATS())
			round := 0
			for b.Loop() {
				round++
				run := newArrivals(latencyEvents)
				stop := c.Watch("", func(d events.Decision) {
					if !d.Allowed {
						run.arrived(d.Customer)
					}
				})
				paced(b, js, 2*latencyEvents, 10_000, func(i int) *nats.Msg {
					id := fmt.Sprintf("org-%d-%d", round, i)
					customer := id
					switch {
					case i%2 == 0:
						run.send(customer)
					case hot:
						customer = "hot"
					}
					e := events.Event{ID: id, Type: "api", Subject: customer}
					return &nats.Msg{Subject: names.UsageIn(customer), Data: e.AppendJSON(nil)}
				})
				run.report(b)
				stop()
			}
		})
	}
}

// narrow starts Tidegate with one partition and a limit of one use. It returns an app's
// client.
func narrow(b *testing.B) (*app.App, *client.Client) {
	b.Helper()
	cfg, err := config.Parse([]byte("partitions: 1\n"+strings.Replace(config.ExampleYAML, "free: 100", "free: 1", 1)), nil)
	if err != nil {
		b.Fatal(err)
	}
	a := counting(b, cfg)
	b.Cleanup(func() { a.Stop(context.Background()) })
	nc, _ := connectBench(b, a.NATS())
	c, err := client.New(nc, client.Source("app"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	<-c.Synced()
	return a, c
}
