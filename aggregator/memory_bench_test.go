package aggregator

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// BenchmarkMemory measures what an open window (count, anniversary) of a
// customer of its own costs, fingerprints left out.
func BenchmarkMemory(b *testing.B) {
	const windows = 1_000_000
	for b.Loop() {
		before := heap()
		s := newState()
		s.setCatalog(*catalog())
		f := folder{state: s, partitions: 1, horizon: 32 * 24 * time.Hour,
			onChange: func(*customer, *usage) {}, reject: ignoreReject, onCounted: func(fingerprint.Entry) {}}
		now := time.Now()
		for i := range windows {
			id := fmt.Sprintf("customer-%d", i)
			e := events.Event{ID: "1", Type: "api", Subject: id}
			f.fold(&stream.Message{Subject: "usage.p.0.~batch", Data: events.AppendBatch(nil, &e), Seq: uint64(i + 1), Time: now})
		}
		s.seen = fingerprint.Set{}
		b.ReportMetric(float64(heap()-before)/windows, "bytes/window")
		runtime.KeepAlive(&f)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
