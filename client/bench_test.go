package client

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/tidegate-io/tidegate/client/internal/memory"
	"github.com/tidegate-io/tidegate/events"
)

// inMemory returns a synced client that talks to nobody.
func inMemory(t testing.TB, opts []Option, gates ...events.Gate) (*Client, *memory.Server) {
	t.Helper()
	m := &memory.Server{}
	c, err := New(nil, append(opts, InMemory(m))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	give(t, m, events.GatesKey, events.Gates{Partitions: partitions, DefaultPlan: "free", Gates: gates})
	return c, m
}

func give(t testing.TB, m *memory.Server, key string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = m.Put(key, b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRecord records through packing, up to where a message would go out.
func BenchmarkRecord(b *testing.B) {
	for _, bench := range []struct {
		name, event string
		customers   int
	}{{"counted", "api", 10_000}, {"counted-many", "api", 100_000}, {"unmetered", "other", 10_000}} {
		b.Run(bench.name, func(b *testing.B) {
			c, _ := inMemory(b, []Option{Source("bench")}, apiGate(1<<60))
			c.memory.Discard()
			names := make([]string, 0, bench.customers)
			for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(bench.customers) {
				names = append(names, "customer-"+strconv.Itoa(i))
			}
			var n atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.Record(context.Background(), Usage{Customer: names[int(n.Add(1))%len(names)], Event: bench.event}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkDelivered records over TCP to a server that stores on disk.
func BenchmarkDelivered(b *testing.B) {
	s := newSite(b, "", apiGate(100))
	c := s.synced()
	names := make([]string, 10_000)
	for i := range names {
		names[i] = "customer-" + strconv.Itoa(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := c.Record(b.Context(), Usage{Customer: names[i%10_000], Event: "other"}); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRecordAck is the latency of one use at a low rate.
func BenchmarkRecordAck(b *testing.B) {
	s := newSite(b, "", apiGate(100))
	c := s.synced()
	b.ResetTimer()
	for b.Loop() {
		if err := c.RecordAck(b.Context(), Usage{Customer: "acme", Event: "other"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGate is what gating adds to a request: the same handler without and
// with it, checked and recorded.
func BenchmarkGate(b *testing.B) {
	c, m := inMemory(b, []Option{Buffer(1 << 24)}, apiGate(1<<40))
	m.Discard()
	handler := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, one := range []struct {
		name    string
		handler http.Handler
	}{
		{"raw", handler},
		{"gate", c.Gate("api", func(r *http.Request) string { return r.Header["X-Customer"][0] })(handler)},
		{"middleware", c.Middleware(func(r *http.Request) string { return r.Header["X-Customer"][0] })(handler)},
	} {
		b.Run(one.name, func(b *testing.B) {
			r := httptest.NewRequest("POST", "/api/search", nil)
			r.Header.Set("X-Customer", "acme")
			w := &nothing{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				one.handler.ServeHTTP(w, r)
			}
		})
	}
}

type nothing struct{ h http.Header }

func (w *nothing) Header() http.Header         { return w.h }
func (w *nothing) Write(b []byte) (int, error) { return len(b), nil }
func (w *nothing) WriteHeader(int)             {}
