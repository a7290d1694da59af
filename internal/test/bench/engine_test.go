package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

const (
	engineEvents     = 5_000_000
	engineCustomers  = 100_000
	enginePartitions = 4
)

// BenchmarkEngine measures the rate of events from client.Record to committed windows,
// and of the same packed messages published without the client. The raw loop only
// publishes those messages and reads them back. There are 100,000 customers, which have
// windows already, TCP and files, documents in the embedded store, all in this process.
func BenchmarkEngine(b *testing.B) {
	var messages []*nats.Msg // as the client has packed them
	b.Run("tidegate", func(b *testing.B) {
		for b.Loop() {
			messages = engine(b, recordAll)
		}
		b.ReportMetric(float64(len(messages)), "messages")
	})
	if messages == nil {
		return // not selected by -bench, so there are no messages for the others
	}
	b.Run("published", func(b *testing.B) {
		for b.Loop() {
			engine(b, func(b *testing.B, nc *nats.Conn) { publishAll(b, nc, messages) })
		}
	})
	b.Run("raw", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			srv := testnats.Start(b)
			nc, js := connectBench(b, srv.URL)
			_, reading := connectBench(b, srv.URL)
			if _, err := stream.Ensure(b.Context(), js, stream.Layout{Partitions: enginePartitions}); err != nil {
				b.Fatal(err)
			}
			measured(b, func() {
				done := make(chan error, 1)
				go func() { done <- readBack(reading, len(messages)) }()
				publishAll(b, nc, messages)
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			})
			srv.Stop()
			b.StartTimer()
		}
	})
}

// engine runs aggregator and enforcer, measures send until all that it sent is committed,
// and returns the messages.
func engine(b *testing.B, send func(*testing.B, *nats.Conn)) (messages []*nats.Msg) {
	b.StopTimer()
	defer b.StartTimer()
	a := counting(b, config.Example())
	defer a.Stop(context.Background())
	nc, js := connectBench(b, a.NATS())
	own, _ := connectBench(b, a.NATS()) // another connection than the sender's
	meet(b, js, own, a)
	measured(b, func() {
		send(b, nc)
		waitCommitted(b, own, a)
	})
	s, err := js.Stream(b.Context(), events.StreamUsage)
	if err != nil {
		b.Fatal(err)
	}
	in := stream.Input{Stream: events.StreamUsage, Filters: []string{"usage.p.*." + events.BatchToken}}
	err = stream.Read(b.Context(), js, names, in, s.CachedInfo().State.LastSeq, func(m *stream.Message) error {
		messages = append(messages, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return messages
}

// meet uses the feature once for each customer, on a subject of imports, so that these
// messages differ from the measured ones.
func meet(b *testing.B, js jetstream.JetStream, nc *nats.Conn, a *app.App) {
	b.Helper()
	open := make([][]byte, a.Partitions())
	publish := func(p int) {
		if _, err := js.Publish(b.Context(), names.Usage(p, events.ImportToken), open[p]); err != nil {
			b.Fatal(err)
		}
		open[p] = nil
	}
	for i := range engineCustomers {
		e := events.Event{ID: "first", Type: "api", Subject: engineCustomer(i)}
		p := events.PartitionOf(e.Subject, a.Partitions())
		if open[p] = events.AppendBatch(open[p], &e); len(open[p]) > events.MaxBatchBytes/2 {
			publish(p)
		}
	}
	for p := range open {
		publish(p)
	}
	waitCommitted(b, nc, a)
}

func engineCustomer(i int) string { return fmt.Sprintf("customer-%d", i) }

// names are the names without a namespace.
var names events.Names

// counting starts a Tidegate that only counts and decides.
func counting(b *testing.B, cfg *config.Config) *app.App {
	b.Helper()
	a, err := app.Start(context.Background(), app.Settings{Roles: []string{app.RoleAggregator, app.RoleEnforcer}}, cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// measured measures f. It reports events per second, and the CPU time of this process
// for each event.
func measured(b *testing.B, f func()) {
	before := cpuTime()
	b.StartTimer()
	begin := time.Now()
	f()
	took := time.Since(begin)
	b.StopTimer()
	b.ReportMetric(engineEvents/took.Seconds(), "events/s")
	b.ReportMetric(float64(cpuTime()-before)/engineEvents, "cpu-ns/event")
}

func recordAll(b *testing.B, nc *nats.Conn) {
	c, err := client.New(nc, client.Source("bench"))
	if err != nil {
		b.Fatal(err)
	}
	<-c.Synced()
	// An app has just read the customer's id, and the customers come in random order.
	const goroutines, orders = 2, 4
	var order [orders][]string
	for o := range order {
		for _, i := range rand.New(rand.NewPCG(1, uint64(o))).Perm(engineCustomers) {
			order[o] = append(order[o], engineCustomer(i))
		}
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < engineEvents; i += goroutines {
				name := order[i/engineCustomers%orders][i%engineCustomers]
				if err := c.Record(context.Background(), client.Usage{Customer: name, Event: "api"}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := c.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func publishAll(b *testing.B, nc *nats.Conn, messages []*nats.Msg) {
	b.Helper()
	// About as many unacknowledged messages as the client has.
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(64))
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range messages {
		copied := *m
		if _, err := js.PublishMsgAsync(&copied, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

func readBack(js jetstream.JetStream, n int) error {
	cons, err := js.OrderedConsumer(context.Background(), events.StreamUsage, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(10_000, 16<<20))
	if err != nil {
		return err
	}
	defer it.Stop()
	for range n {
		if _, err := it.Next(); err != nil {
			return err
		}
	}
	return nil
}

// waitCommitted waits until all partitions have committed all stored messages.
func waitCommitted(b *testing.B, nc *nats.Conn, a *app.App) {
	b.Helper()
	js, err := stream.JetStream(nc)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	asker := stream.Asker{NC: nc, Names: names}
	for p := range a.Partitions() {
		if _, err := questions.UsageOf.Ask(ctx, asker, p, ""); err != nil { // the answer waits for the aggregator only
			b.Fatal(err)
		}
		in := stream.Input{Stream: events.StreamUsage, Filters: []string{names.Usage(p, ">")}}
		newest, err := stream.Newest(b.Context(), js, names, in)
		if err != nil {
			b.Fatal(err)
		}
		for {
			at, err := stream.Committed(b.Context(), js, names, app.RoleAggregator, p)
			if err == nil && len(at) > 0 && at[0].Seq >= newest {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}
