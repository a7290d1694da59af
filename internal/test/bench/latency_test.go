package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// BenchmarkBlockLatency measures the time from publishing the last allowed use to the
// block in the memory of an app with its own connection. The raw loop has the same steps
// on the same streams: publish, ordered consumer, publish, ordered consumer, put, watch.
// All run on one machine, with TCP and files.
func BenchmarkBlockLatency(b *testing.B) {
	for _, rate := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("raw/%d_per_s", rate), func(b *testing.B) { rawLatency(b, rate) })
		b.Run(fmt.Sprintf("tidegate/%d_per_s", rate), func(b *testing.B) { blockLatency(b, rate) })
	}
}

// arrivals records when messages arrived.
type arrivals struct {
	mu   sync.Mutex
	sent map[string]time.Time
	took []time.Duration
	want int
	done chan struct{}
}

func newArrivals(n int) *arrivals {
	return &arrivals{sent: map[string]time.Time{}, want: n, done: make(chan struct{})}
}

func (a *arrivals) send(key string) {
	a.mu.Lock()
	a.sent[key] = time.Now()
	a.mu.Unlock()
}

func (a *arrivals) arrived(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.sent[key]; ok {
		delete(a.sent, key)
		a.took = append(a.took, time.Since(t))
		if len(a.took) == a.want {
			close(a.done)
		}
	}
}

func (a *arrivals) report(b *testing.B) {
	b.Helper()
	select {
	case <-a.done:
	case <-time.After(30 * time.Second):
		b.Fatalf("%d of %d arrived", len(a.took), a.want)
	}
	slices.Sort(a.took)
	ms := func(q float64) float64 { return float64(a.took[int(q*float64(len(a.took)-1))]) / 1e6 }
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// paced publishes n messages at a rate, several at a time.
func paced(b *testing.B, js jetstream.JetStream, n, rate int, message func(i int) *nats.Msg) {
	b.Helper()
	begin := time.Now()
	for i := range n {
		if ahead := time.Duration(i)*time.Second/time.Duration(rate) - time.Since(begin); ahead > time.Millisecond {
			<-time.After(ahead)
		}
		if _, err := js.PublishMsgAsync(message(i)); err != nil {
			b.Fatal(err)
		}
	}
}

const latencyEvents = 5_000

func connectBench(b *testing.B, url string) (*nats.Conn, jetstream.JetStream) {
	b.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	return nc, js
}

func blockLatency(b *testing.B, rate int) {
	cfg, err := config.Parse([]byte(strings.Replace(config.ExampleYAML, "free: 100", "free: 1", 1)), nil)
	if err != nil {
		b.Fatal(err)
	}
	a := counting(b, cfg)
	defer a.Stop(context.Background())
	nc, js := connectBench(b, a.NATS())
	other, _ := connectBench(b, a.NATS())
	c, err := client.New(other)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	<-c.Synced()
	for b.Loop() {
		run := newArrivals(latencyEvents)
		stop := c.Watch("", func(d events.Decision) {
			if !d.Allowed {
				run.arrived(d.Customer)
			}
		})
		prefix := nc.Opts.Name + fmt.Sprint(time.Now().UnixNano())
		paced(b, js, latencyEvents, rate, func(i int) *nats.Msg {
			id := fmt.Sprintf("%s-%d", prefix, i)
			run.send(id)
			e := events.Event{ID: id, Type: "api", Subject: id}
			return &nats.Msg{Subject: names.UsageIn(id), Data: e.AppendJSON(nil)}
		})
		run.report(b)
		stop()
	}
}

func rawLatency(b *testing.B, rate int) {
	srv := testnats.Start(b)
	ctx := b.Context()
	_, js := connectBench(b, srv.URL)
	_, app := connectBench(b, srv.URL)
	const partitions = 4
	if _, err := stream.Ensure(ctx, js, stream.Layout{Partitions: partitions}); err != nil {
		b.Fatal(err)
	}
	bucket := names.Bucket(events.BucketDecisions)
	for p := range partitions {
		_, worker := connectBench(b, srv.URL)
		rawHop(b, worker, events.StreamUsage, names.Usage(p, "*"), func(m jetstream.Msg) *nats.Msg {
			key := m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]
			return &nats.Msg{Subject: names.Windows(p), Data: []byte(key)}
		})
		rawHop(b, worker, events.StreamWindows, names.Windows(p), func(m jetstream.Msg) *nats.Msg {
			return &nats.Msg{Subject: "$KV." + bucket + "." + string(m.Data()), Data: m.Data()}
		})
	}
	kv, err := app.KeyValue(ctx, bucket)
	if err != nil {
		b.Fatal(err)
	}
	w, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	var current atomic.Pointer[arrivals]
	go func() {
		for e := range w.Updates() {
			if e != nil {
				current.Load().arrived(e.Key())
			}
		}
	}()
	for b.Loop() {
		run := newArrivals(latencyEvents)
		current.Store(run)
		prefix := fmt.Sprint(time.Now().UnixNano())
		paced(b, js, latencyEvents, rate, func(i int) *nats.Msg {
			id := fmt.Sprintf("%s-%d", prefix, i)
			run.send(id)
			e := events.Event{ID: id, Type: "api", Subject: id}
			return &nats.Msg{Subject: names.UsageIn(id), Data: e.AppendJSON(nil)}
		})
		run.report(b)
	}
}

// rawHop publishes the result of next for each message of a stream.
func rawHop(b *testing.B, js jetstream.JetStream, from, filter string, next func(jetstream.Msg) *nats.Msg) {
	b.Helper()
	cons, err := js.OrderedConsumer(b.Context(), from, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	if err != nil {
		b.Fatal(err)
	}
	cc, err := cons.Consume(func(m jetstream.Msg) { _, _ = js.PublishMsgAsync(next(m)) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cc.Stop)
}
