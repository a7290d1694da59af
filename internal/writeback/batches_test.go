package writeback

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestALargeBacklogIsWrittenInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{}
		w, _ := start(t, s)
		docs := make([]doc, 2*maxBatch+1)
		for i := range docs {
			docs[i] = doc{strconv.Itoa(i), i}
		}
		w.Add(docs, 1)
		synctest.Wait()
		if got, writes := s.state(); len(got) != len(docs) || writes != 3 || !w.Flushed() {
			t.Errorf("%d documents in %d writes", len(got), writes)
		}
	})
}

func TestAnEagerWriterDoesNotPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{}
		w, _ := start(t, s)
		w.Eager = true // before its first use
		for n := range 3 {
			w.Add([]doc{{"a", n}}, uint64(n))
			synctest.Wait()
			if docs, _ := s.state(); docs["a"] != n || !w.Flushed() {
				t.Errorf("%v after %d", docs, n)
			}
		}
	})
}

// TestPendingIsBoundedByTheDocuments: while the store is away, many changes of few
// documents need few entries, and Lag says how many and how long they wait.
func TestPendingIsBoundedByTheDocuments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const documents, changes = 2*maxBatch + 1, 200_000
		s := &memory{away: errors.New("away")}
		w, _ := start(t, s)
		if l := w.Lag(); l != (Lag{}) {
			t.Errorf("%+v before the first", l)
		}
		begin := time.Now()
		for n := range changes {
			w.Add([]doc{{strconv.Itoa(n % documents), n}}, uint64(n))
			if n%1000 == 0 {
				time.Sleep(interval / 10)
				synctest.Wait()
			}
			if held := len(w.pending.docs) + len(w.round.docs); held > documents {
				t.Fatalf("%d entries of %d documents", held, documents)
			}
		}
		if l, age := w.Lag(), time.Since(begin); l.Waiting != documents || l.Oldest != age {
			t.Errorf("%+v, want %d for %v", l, documents, age)
		}
		s.set(nil)
		time.Sleep(2 * interval)
		synctest.Wait()
		if docs, _ := s.state(); len(docs) != documents || docs["0"] != changes-1-(changes-1)%documents || w.Lag() != (Lag{}) {
			t.Errorf("%d documents, the first at %d, left %+v", len(docs), docs["0"], w.Lag())
		}
		s.noneTwiceASecond(t)
	})
}

// TestASlowStoreGetsSmallerBatches: otherwise a batch that always times out would be
// repeated forever.
func TestASlowStoreGetsSmallerBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		written, most, slow := map[string]bool{}, 0, 250*time.Millisecond
		w := New(func(d *doc) string { return d.id }, func(ctx context.Context, docs []doc) error {
			mu.Lock()
			defer mu.Unlock()
			most = max(most, len(docs))
			for _, d := range docs {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(slow):
					written[d.id] = true
				}
			}
			return nil
		}, slog.New(slog.DiscardHandler))
		var docs []doc
		for i := range 2500 {
			docs = append(docs, doc{strconv.Itoa(i), i})
		}
		w.Add(docs, 1)
		go w.Run(ctx)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if len(written) != 2500 || w.Watermark() != 1 {
			t.Errorf("%d of 2500 are written after 20 minutes, the watermark is %d", len(written), w.Watermark())
		}
		mu.Lock()
		slow, most = 0, 0 // when it is fast again, batches grow
		mu.Unlock()
		for i := range 100 {
			w.Add(docs, uint64(2+i))
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if most != maxBatch || w.Watermark() != 101 {
			t.Errorf("a fast store gets %d at a time, the watermark is %d", most, w.Watermark())
		}
	})
}
