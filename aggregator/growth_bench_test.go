package aggregator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// BenchmarkGrowth compares partitions of 10,000 and 1,000,000 customers. It folds
// events of random customers and commits after each second of work, like an owner
// but without a server. Before the measurement a million events open a window for
// each customer.
func BenchmarkGrowth(b *testing.B) {
	const few, many, each = 10_000, 1_000_000, 2_000_000
	for b.Loop() {
		small, large := grow(b, few, each), grow(b, many, each)
		report := func(name string, c costs) {
			b.ReportMetric(float64(c.total().Nanoseconds())/each, name+"-ns/event")
			b.ReportMetric(float64(c.fold.Nanoseconds())/each, name+"-fold-ns")
			b.ReportMetric(float64(c.commit.Nanoseconds())/each, name+"-commit-ns")
			b.ReportMetric(float64(c.longest.Milliseconds()), name+"-pause-ms")
			b.ReportMetric(float64(c.snapshot.Milliseconds()), name+"-snap-ms")
		}
		report("10k", small)
		report("1M", large)
		b.ReportMetric(float64(large.total())/float64(small.total()), "ratio")
		b.ReportMetric(float64(large.fold)/float64(small.fold), "fold-ratio")
	}
}

// costs are times: of folding, of all commits, of the longest commit, of a snapshot.
type costs struct {
	fold, commit, longest, snapshot time.Duration
	chunks                          []time.Duration // parts of fold
}

// useMedian sets fold to the number of chunks times their median, because another
// process may have slowed down some of them.
func (c *costs) useMedian() {
	slices.Sort(c.chunks)
	c.fold = c.chunks[len(c.chunks)/2] * time.Duration(len(c.chunks))
}

func (c *costs) total() time.Duration { return c.fold + c.commit }

// growth is a partition whose commits and folds are measured.
type growth struct {
	*Processor
	b    *testing.B
	now  time.Time
	seq  uint64
	data []byte
}

// newGrowth returns a partition whose documents are written to nowhere until ctx is
// done.
func newGrowth(ctx context.Context, b *testing.B) *growth {
	cat := catalogOfOneGate(gate.Count, gate.WindowSpec{Kind: gate.Anniversary, Days: 30})
	cat.Gates[0].Limits["free"] = gate.Limit{Value: events.Count(1 << 40)}
	p := offline(cat, time.Now)
	p.f.reject = failOnReject
	p.archive = fingerprint.NewArchive(&memorySeen{}, fingerprint.Sizes{})
	p.docs.writer = writeback.New((*records.Window).ID, func(context.Context, []records.Window) error { return nil }, slog.New(slog.DiscardHandler))
	p.docs.writer.Eager = true
	go p.docs.writer.Run(ctx)
	p.begin()
	return &growth{Processor: p, b: b, now: epoch}
}

// batch makes data a batch of n events of the customers that customer returns.
func (g *growth) batch(id string, n int, customer func(i int) int) {
	g.data = g.data[:0]
	for i := range n {
		g.data = appendUse(g.data, id, customer(i))
	}
}

// handle folds data and returns how long that took.
func (g *growth) handle() time.Duration {
	start := time.Now()
	g.seq++
	if err := g.Handle(&stream.Message{Subject: "usage.p.0.~batch", Data: g.data, Seq: g.seq, Time: g.now}); err != nil {
		g.b.Fatal(err)
	}
	return time.Since(start)
}

// commit commits and returns how long that took.
func (g *growth) commit() time.Duration {
	start := time.Now()
	if _, err := g.Commit(); err != nil {
		g.b.Fatal(err)
	}
	return time.Since(start)
}

// openWindows folds a million events, so that each customer has a window. The
// windows end at different times.
func (g *growth) openWindows(customers, perMessage int) {
	const events = 1_000_000
	for n := 0; n < events; n += perMessage {
		g.batch(fmt.Sprint("open-", n), perMessage, func(i int) int { return (n + i) % customers })
		g.now = g.now.Add(30 * day * time.Duration(perMessage) / events)
		g.handle()
		clear(g.emissions)
		g.emissions = g.emissions[:0]
		if n%100_000 == 0 {
			g.commit()
		}
	}
	g.commit()
	runtime.GC()
}

// grow measures a partition with so many customers while it folds total events.
func grow(b *testing.B, customers, total int) (c costs) {
	const perMessage, chunk = 500, 100_000
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g := newGrowth(ctx, b)
	g.openWindows(customers, perMessage)
	r := rand.New(rand.NewPCG(1, 2))
	last := time.Duration(0)
	for n := 0; n < total; n += perMessage {
		g.batch(fmt.Sprint("0197a3c2-5f1e-7b02-", n), perMessage, func(int) int { return r.IntN(customers) })
		took := g.handle()
		if n%chunk == 0 {
			c.chunks = append(c.chunks, 0)
		}
		c.fold += took
		c.chunks[len(c.chunks)-1] += took
		if c.total()-last > time.Second {
			took := g.commit()
			c.commit, c.longest, last = c.commit+took, max(c.longest, took), c.total()+took
		}
	}
	c.commit += g.commit()
	start := time.Now()
	if _, err := g.Snapshot(); err != nil {
		b.Fatal(err)
	}
	c.snapshot = time.Since(start)
	c.useMedian()
	return c
}

func appendUse(data []byte, id string, customer int) []byte {
	name := customerName(customer)
	return events.AppendBatch(data, &events.Event{ID: id + name, Source: "bench", Type: "use", Subject: name})
}

// memorySeen is a stream SEEN in memory.
type memorySeen struct {
	mu       sync.Mutex
	messages [][]byte
}

func (s *memorySeen) Put(_ context.Context, b []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, b)
	return uint64(len(s.messages)), nil
}

func (s *memorySeen) Get(_ context.Context, number uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number == 0 || number > uint64(len(s.messages)) {
		return nil, errors.New("not there")
	}
	return s.messages[number-1], nil
}
