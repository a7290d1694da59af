package bench

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/aggregator"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

const (
	storedEvents    = 500_000
	storedCustomers = 50_000
)

// nowhere is a store that discards all documents.
type nowhere struct{}

func (nowhere) WriteUsage(context.Context, []records.Window) error { return nil }

// BenchmarkStored measures reading JSON events of 200 bytes, one in a message, from a
// stream of one partition over TCP and files: by the aggregator until its commit and, in
// turn, by a raw ordered consumer with the same settings.
func BenchmarkStored(b *testing.B) {
	srv := testnats.Start(b)
	nc, js := connectBench(b, srv.URL)
	ctx := b.Context()
	if _, err := stream.Ensure(ctx, js, stream.Layout{Partitions: 1}); err != nil {
		b.Fatal(err)
	}
	storeSingles(b, nc)
	var raw, ours, rawCPU, oursCPU time.Duration
	for b.Loop() {
		cpu, begin := cpuTime(), time.Now()
		readRaw(b, js)
		raw, rawCPU = raw+time.Since(begin), rawCPU+cpuTime()-cpu
		for _, name := range []string{events.StreamState, events.StreamSeen} { // begin anew
			s, err := js.Stream(ctx, name)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Purge(ctx); err != nil {
				b.Fatal(err)
			}
		}
		cpu, begin = cpuTime(), time.Now()
		aggregateAll(b, nc, js)
		ours, oursCPU = ours+time.Since(begin), oursCPU+cpuTime()-cpu
	}
	n := float64(b.N) * storedEvents
	b.ReportMetric(n/raw.Seconds(), "raw-events/s")
	b.ReportMetric(n/ours.Seconds(), "events/s")
	b.ReportMetric(100*raw.Seconds()/ours.Seconds(), "%-of-raw")
	b.ReportMetric(float64(rawCPU)/n, "raw-cpu-ns/event")
	b.ReportMetric(float64(oursCPU)/n, "cpu-ns/event")
}

func storeSingles(b *testing.B, nc *nats.Conn) {
	b.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000))
	if err != nil {
		b.Fatal(err)
	}
	for i := range storedEvents {
		id := fmt.Sprintf("customer-%d", i*7919%storedCustomers)
		e := events.Event{ID: fmt.Sprintf("0197a3c2-5f1e-7b02-9d4c-%012d", i), Source: "billing-api", Type: "api", Subject: id, Time: time.Now()}
		data := string(e.AppendJSON(nil))
		e.Data = []byte(`{"pad":"` + strings.Repeat("x", 200-len(data)-len(`,"data":{"pad":""}`)) + `"}`)
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: names.UsageIn(id), Data: e.AppendJSON(nil)}, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

func readRaw(b *testing.B, js jetstream.JetStream) {
	b.Helper()
	cons, err := js.OrderedConsumer(b.Context(), events.StreamUsage, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{names.Usage(0, "*")}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 1,
	})
	if err != nil {
		b.Fatal(err)
	}
	n, done := 0, make(chan struct{})
	cc, err := cons.Consume(func(jetstream.Msg) {
		if n++; n == storedEvents {
			close(done)
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(10_000, 16<<20))
	if err != nil {
		b.Fatal(err)
	}
	<-done
	cc.Stop()
	<-cc.Closed()
}

// aggregateAll owns the partition until all is committed.
func aggregateAll(b *testing.B, nc *nats.Conn, js jetstream.JetStream) {
	b.Helper()
	cat := config.Example().Catalog()
	opt := aggregator.Options{Partitions: 1, Horizon: 32 * 24 * time.Hour, Store: nowhere{}, Now: time.Now,
		Catalog: func() *gate.Catalog { return &cat }}
	env := stream.Env{NC: nc, JS: js, Holder: "bench", Log: slog.New(slog.DiscardHandler), Now: time.Now}
	spec := aggregator.Spec(env.Names, 0)
	ctx, cancel := context.WithCancel(b.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- stream.Run(ctx, env, spec, aggregator.New(opt, 0), make(chan struct{}), func() { close(ready) })
	}()
	<-ready
	ask, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	if _, err := questions.UsageOf.Ask(ask, stream.Asker{NC: nc}, 0, ""); err != nil { // the answer comes after all stored messages
		b.Fatal(err)
	}
	cancel() // makes the owner commit
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	at, err := stream.Committed(b.Context(), js, env.Names, stream.RoleAggregator, 0)
	if err != nil || len(at) == 0 || at[0].Seq < storedEvents {
		b.Fatalf("committed up to %v of %d, %v", at, storedEvents, err)
	}
}
