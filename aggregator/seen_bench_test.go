package aggregator

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/fingerprint"
)

var fingerprintCount = flag.Int("fingerprints", 1_000_000, "how many fingerprints BenchmarkFingerprints has")

// fillSeen writes n fingerprints to SEEN, as the commits of the 32 days up to hour
// would, and returns one in a hundred of them.
func (p *Processor) fillSeen(t testing.TB, n int, hour uint32) (sample []uint64) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < n; i += p.archive.Chunk {
		es := make([]fingerprint.Entry, min(p.archive.Chunk, n-i))
		for k := range es {
			es[k] = fingerprint.Entry{FP: r.Uint64(), Hour: hour - 767 + uint32(i*768/n)}
		}
		for k := i * 7 % 100; k < len(es); k += 100 {
			sample = append(sample, es[k].FP)
		}
		run, err := p.archive.Write(t.Context(), es)
		if err != nil {
			t.Fatal(err)
		}
		p.archive.Add(run)
		for runs := p.archive.Mergeable(96); runs != nil; runs = p.archive.Mergeable(96) {
			to, err := p.archive.Merge(t.Context(), runs, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range runs {
				p.archive.Remove([]uint64{r.ID()})
				p.store.remove(t.Context(), r.Messages())
			}
			p.archive.Add(to)
		}
	}
	return sample
}

// BenchmarkFingerprints measures lookups with -fingerprints=n fingerprints in SEEN:
// of new ones, and of known ones in order and in random order.
func BenchmarkFingerprints(b *testing.B) {
	bench := startPartition(b)
	p := bench.newOwner(b, b.Context(), 1)
	if err := p.loadSeen(b.Context()); err != nil {
		b.Fatal(err)
	}
	began, n := time.Now(), *fingerprintCount
	hour := fingerprint.Hour(began)
	sample := p.fillSeen(b, n, hour)
	written := time.Since(began)
	_, stored := bench.seenState(b)

	began = time.Now()
	q := bench.newOwner(b, b.Context(), 2)
	q.f.storedAt = began
	for _, run := range p.archive.Runs() {
		q.archive.Add(run.Bare())
	}
	if err := q.loadSeen(b.Context()); err != nil {
		b.Fatal(err)
	}
	loaded, s := time.Since(began), q.archive.Stats()
	ask := func(known bool, fp func(i int) uint64) func(*testing.B) {
		return func(b *testing.B) {
			gets := q.archive.Stats().Gets
			for i := 0; b.Loop(); i++ {
				if is, err := q.archive.Has(b.Context(), fp(i), hour-768); is != known || err != nil {
					b.Fatal(is, err)
				}
			}
			b.ReportMetric(float64(q.archive.Stats().Gets-gets)/float64(b.N), "gets/op")
			b.ReportMetric(float64(s.Runs), "runs")
			b.ReportMetric(float64(s.Memory)/float64(n), "memory-B/event")
			b.ReportMetric(float64(stored)/float64(n), "SEEN-B/event")
			b.ReportMetric(loaded.Seconds(), "takeover-s")
			b.ReportMetric(float64(n)/written.Seconds(), "written/s")
		}
	}
	r := rand.New(rand.NewPCG(2, 2))
	b.Run("new", ask(false, func(int) uint64 { return r.Uint64() }))
	b.Run("repeated", ask(true, func(i int) uint64 { return sample[i%len(sample)] }))
	r.Shuffle(len(sample), func(i, k int) { sample[i], sample[k] = sample[k], sample[i] })
	b.Run("repeated-anywhere", ask(true, func(i int) uint64 { return sample[i%len(sample)] }))
	b.Run("add", func(b *testing.B) {
		var recent fingerprint.Set
		for i := 0; b.Loop(); i++ {
			if i%p.archive.Chunk == 0 {
				recent = fingerprint.Set{}
			}
			recent.Add(r.Uint64(), hour)
		}
	})
}
