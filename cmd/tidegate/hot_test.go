package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
)

// narrow starts Tidegate with one partition and a limit, and an app's client.
func narrow(t testing.TB, limit string) (*app, *nats.Conn, *client.Client) {
	t.Helper()
	srv, err := embeddedNATS("127.0.0.1:-1", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	yaml := "partitions: 1\n" + strings.Replace(config.ExampleYAML, "free: 100", "free: "+limit, 1)
	cfg, err := config.Parse([]byte(yaml), nil)
	if err != nil {
		t.Fatal(err)
	}
	set := settings{Roles: []string{roleAggregator, roleEnforcer}, NATS: srv.ClientURL(), Dev: true}
	a, err := start(context.Background(), set, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.stopIn(stopTime) })
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c, err := client.New(nc, client.Source("app"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	<-c.Synced()
	return a, nc, c
}

// TestAHotCustomerStarvesNobody: of one partition's uses every other one is of
// the same customer. Everybody else is counted and blocked, and so is that one,
// with one document written for all of it in a second.
func TestAHotCustomerStarvesNobody(t *testing.T) {
	t.Parallel()
	a, _, c := narrow(t, "10")
	const others, each = 200, 10
	for n := range others * each {
		for _, customer := range []string{"hot", fmt.Sprint("org-", n%others)} {
			if err := c.Record(t.Context(), client.Usage{Customer: customer, Event: "api", ID: fmt.Sprint(n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range others {
		sees(t, c, fmt.Sprint("org-", n), false)
	}
	sees(t, c, "hot", false)
	for customer, want := range map[string]int64{"hot": others * each, "org-0": each, "org-199": each} {
		eventually(t, customer+" is documented", func() error {
			ws, err := a.store.Usage(t.Context(), customer)
			if err == nil && (len(ws) != 1 || ws[0].Used != events.Count(want)) {
				err = fmt.Errorf("%+v", ws)
			}
			return err
		})
	}
}

// BenchmarkHotCustomer measures, at one partition and 10,000 uses a second, from
// a customer's use to the block in an app: when the other half of the uses is of
// one customer, and when it is of as many customers as there are uses.
func BenchmarkHotCustomer(b *testing.B) {
	for _, hot := range []bool{false, true} {
		name := map[bool]string{false: "even", true: "hot"}[hot]
		b.Run(name, func(b *testing.B) {
			a, nc, c := narrow(b, "1")
			_, js := connectBench(b, nc.ConnectedUrl())
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
					return &nats.Msg{Subject: a.names.UsageIn(customer), Data: e.AppendJSON(nil)}
				})
				run.report(b)
				stop()
			}
		})
	}
}
