package aggregator

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// discard is a store that takes everything and keeps nothing.
type discardStore struct{}

func (discardStore) WriteUsage(context.Context, []records.Window) error { return nil }

// BenchmarkTakeover measures how long a new owner takes to be ready that finds
// a partition with a million open windows, each of a customer of its own.
func BenchmarkTakeover(b *testing.B) {
	const windows, each = 1_000_000, 500
	s := startPartition(b)
	for i := range windows / each {
		var body []byte
		for k := range each {
			e := events.Event{ID: "1", Type: "api", Subject: fmt.Sprintf("customer-%d", i*each+k)}
			body = events.AppendBatch(body, &e)
		}
		m := &nats.Msg{Subject: "usage.p.0.~batch", Data: body}
		if _, err := s.env.JS.PublishMsgAsync(m); err != nil {
			b.Fatal(err)
		}
	}
	<-s.env.JS.PublishAsyncComplete()
	s.env.CommitEvery = time.Second
	own := func() (ready <-chan struct{}, stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		up, end := make(chan struct{}), make(chan error, 1)
		opt := s.options()
		opt.Store = discardStore{}
		go func() {
			end <- stream.Run(ctx, s.env, Spec(s.env.Names, 0), New(opt, 0), nil, sync.OnceFunc(func() { close(up) }))
		}()
		return up, func() { cancel(); <-end } // what a stop leaves is folded again
	}
	up, stop := own()
	<-up
	for { // all of it is committed
		at, err := stream.Committed(context.Background(), s.env.JS, s.env.Names, stream.RoleAggregator, 0)
		if err != nil {
			b.Fatal(err)
		}
		if len(at) > 0 && at[0].Seq == windows/each {
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	stop()
	for b.Loop() {
		up, stop := own()
		<-up
		b.StopTimer()
		if ws := s.windows(b, fmt.Sprintf("customer-%d", windows-1)); len(ws) != 1 {
			b.Fatalf("the last customer has %d windows", len(ws))
		}
		stop()
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	b.ReportMetric(0, "ns/op")
}
