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

// BenchmarkGrowth folds and commits events of uniformly chosen customers, of
// which there are 10,000 or 1,000,000, as the owner of a partition does it but
// without a server: a commit for every second of work. A million events before
// the clock starts have opened a window of each customer.
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

// costs are the times that folding works or stands still.
type costs struct {
	fold, commit, longest, snapshot time.Duration
	chunks                          []time.Duration // parts of fold
}

// middle takes the median of the chunks for what each of them cost: somebody
// else may have used the machine during one.
func (c *costs) middle() {
	slices.Sort(c.chunks)
	c.fold = c.chunks[len(c.chunks)/2] * time.Duration(len(c.chunks))
}

func (c *costs) total() time.Duration { return c.fold + c.commit }

func grow(b *testing.B, customers, total int) (c costs) {
	const perMessage, chunk, before = 500, 100_000, 1_000_000
	cat := oneGate(gate.Count, gate.WindowSpec{Kind: gate.Anniversary, Days: 30})
	cat.Gates[0].Limits["free"] = gate.Limit{Value: events.Count(1 << 40)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := offline(cat, time.Now)
	p.f.reject = failOnReject
	p.archive = fingerprint.NewArchive(&memorySeen{}, fingerprint.Sizes{})
	p.docs.writer = writeback.New((*records.Window).ID, func(context.Context, []records.Window) error { return nil }, slog.New(slog.DiscardHandler))
	p.docs.writer.Eager = true
	go p.docs.writer.Run(ctx)
	p.begin()
	now, seq := epoch, uint64(0)
	handle := func(data []byte) {
		seq++
		if err := p.Handle(&stream.Message{Subject: "usage.p.0.~batch", Data: data, Seq: seq, Time: now}); err != nil {
			b.Fatal(err)
		}
	}
	commit := func() int {
		r, err := p.Commit()
		if err != nil {
			b.Fatal(err)
		}
		return len(r)
	}
	var data []byte
	for n := 0; n < before; n += perMessage {
		data = data[:0]
		for i := range perMessage {
			data = appendUse(data, fmt.Sprint("open-", n), (n+i)%customers)
		}
		now = now.Add(30 * day * perMessage / before) // so windows end all the time
		handle(data)
		clear(p.emissions)
		p.emissions = p.emissions[:0]
		if n%100_000 == 0 {
			commit()
		}
	}
	commit()
	runtime.GC()
	r := rand.New(rand.NewPCG(1, 2))
	last := time.Duration(0)
	for n := 0; n < total; n += perMessage {
		data = data[:0]
		for range perMessage {
			data = appendUse(data, fmt.Sprint("0197a3c2-5f1e-7b02-", n), r.IntN(customers))
		}
		start := time.Now()
		handle(data)
		took := time.Since(start)
		if n%chunk == 0 {
			c.chunks = append(c.chunks, 0)
		}
		c.fold += took
		c.chunks[len(c.chunks)-1] += took
		if c.total()-last > time.Second {
			start = time.Now()
			commit()
			took := time.Since(start)
			c.commit, c.longest, last = c.commit+took, max(c.longest, took), c.total()+took
		}
	}
	start := time.Now()
	commit()
	c.commit += time.Since(start)
	start = time.Now()
	if _, err := p.Snapshot(); err != nil {
		b.Fatal(err)
	}
	c.snapshot = time.Since(start)
	c.middle()
	return c
}

func appendUse(data []byte, id string, customer int) []byte {
	name := benchCustomer(customer)
	return events.AppendBatch(data, &events.Event{ID: id + name, Source: "bench", Type: "use", Subject: name})
}

// shelf is a stream SEEN in memory.
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
