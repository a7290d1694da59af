package ingest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate-io/tidegate/events"
)

// Many small requests at a time lose and double nothing, and share messages.
func TestConcurrentRequestsShareMessages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const callers, each = 16, 40
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				list := []events.Event{
					{ID: fmt.Sprintf("%d/%d/a", c, i), Type: "api", Subject: fmt.Sprint("customer", i)},
					{ID: fmt.Sprintf("%d/%d/b", c, i), Type: "api", Subject: fmt.Sprint("customer", i*7)},
				}
				if err := b.srv.Publisher().Publish(t.Context(), list, events.BatchToken); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, e := range b.usage() {
		seen[e.ID]++
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
	if len(seen) != callers*each*2 {
		t.Errorf("%d of %d events", len(seen), callers*each*2)
	}
}

func TestPublisherSplitsLargeBatches(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	data := []byte(`{"x":"` + strings.Repeat("x", 60_000) + `"}`)
	var list []events.Event
	for i := range 30 {
		list = append(list, events.Event{ID: fmt.Sprint(i), Type: "api", Subject: "acme", Data: data})
	}
	ok(t, b.srv.Publisher().Publish(t.Context(), list, events.BatchToken))
	got := b.usage()
	if len(got) != 30 || len(b.stored("USAGE")) < 4 {
		t.Fatalf("%d events in %d messages", len(got), len(b.stored("USAGE")))
	}
	ok(t, b.srv.Publisher().Publish(t.Context(), list[:1], events.ImportToken))
	all := b.stored("USAGE")
	if last := all[len(all)-1]; !strings.HasSuffix(last.Subject, events.ImportToken) {
		t.Errorf("import went to %s", last.Subject)
	}
	if err := b.srv.Publisher().Publish(t.Context(), list[:1], "acme"); err == nil {
		t.Error("any token was taken")
	}
}

func BenchmarkPublish100(b *testing.B) {
	bench := newBench(b)
	list := make([]events.Event, 100)
	for i := range list {
		list[i] = events.Event{ID: fmt.Sprint("0190b3c2-", i), Source: "billing-api", Type: "api", Subject: fmt.Sprint("customer-", i), Time: testNow, Data: []byte(`{"tokens":12,"model":"large"}`)}
	}
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := bench.srv.Publisher().Publish(b.Context(), list, events.BatchToken); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N*100)/b.Elapsed().Seconds(), "events/s")
}
