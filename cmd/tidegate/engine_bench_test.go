package main

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// BenchmarkEngine measures packed events from the publisher through the stream
// into committed windows, beside a loop that only publishes the same messages
// and reads them back. 100,000 customers, TCP and files, one machine.
func BenchmarkEngine(b *testing.B) {
	const total, customers = 1_000_000, 100_000
	messages := packedMessages(total, customers, 4)
	b.Run("raw", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			srv, err := embeddedNATS("127.0.0.1:-1", b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			_, js := connectBench(b, srv.ClientURL())
			if _, err := stream.Ensure(context.Background(), js, stream.Layout{Partitions: 4}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			done := make(chan error, 1)
			go func() { done <- readBack(js, len(messages)) }()
			publishAll(b, js, messages)
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			srv.Shutdown()
			b.StartTimer()
		}
		b.ReportMetric(float64(total*b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("tidegate", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			srv, err := embeddedNATS("127.0.0.1:-1", b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			set := settings{HTTP: "127.0.0.1:0", Roles: []string{roleAggregator}, NATS: srv.ClientURL(), Dev: true}
			a, err := start(context.Background(), set, config.Example(), slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			_, js := connectBench(b, srv.ClientURL())
			b.StartTimer()
			publishAll(b, js, messages)
			waitCommitted(b, a)
			b.StopTimer()
			a.stopIn(stopTime)
			srv.Shutdown()
			b.StartTimer()
		}
		b.ReportMetric(float64(total*b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

func packedMessages(total, customers, partitions int) []*nats.Msg {
	const perMessage = 500
	open := make([][]byte, partitions)
	count := make([]int, partitions)
	var messages []*nats.Msg
	seal := func(p int) {
		m := nats.NewMsg(events.Names{}.Usage(p, events.BatchToken))
		m.Header.Set(events.ContentTypeHeader, events.ContentTypeBatch)
		m.Data, open[p], count[p] = open[p], nil, 0
		messages = append(messages, m)
	}
	for i := range total {
		e := events.Event{ID: fmt.Sprint(i), Source: "bench", Type: "api", Subject: fmt.Sprintf("customer-%d", i%customers)}
		p := events.PartitionOf(e.Subject, partitions)
		open[p] = events.AppendBatch(open[p], &e)
		if count[p]++; count[p] == perMessage {
			seal(p)
		}
	}
	for p := range open {
		if count[p] > 0 {
			seal(p)
		}
	}
	return messages
}

func publishAll(b *testing.B, js jetstream.JetStream, messages []*nats.Msg) {
	b.Helper()
	for _, m := range messages {
		copied := *m
		if _, err := js.PublishMsgAsync(&copied); err != nil {
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

// waitCommitted returns once every partition has committed all that is stored.
func waitCommitted(b *testing.B, a *app) {
	b.Helper()
	for p := range a.partitions {
		in := stream.Input{Stream: events.StreamUsage, Filter: a.names.Usage(p, "*")}
		newest, err := stream.Newest(context.Background(), a.js, a.names, in)
		if err != nil {
			b.Fatal(err)
		}
		for {
			at, err := stream.Committed(context.Background(), a.js, a.names, roleAggregator, p)
			if err == nil && len(at) > 0 && at[0].Seq >= newest {
				break
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}
