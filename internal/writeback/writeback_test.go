package writeback

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/store"
)

type doc struct {
	id string
	n  int
}

// memory keeps the written documents, and fails while it is away.
type memory struct {
	mu     sync.Mutex
	docs   map[string]int
	times  map[string][]time.Time // of writes
	writes int
	away   error
	slow   time.Duration
	most   int // documents that it accepts in one write; 0: any number
}

func (s *memory) write(ctx context.Context, docs []doc) error {
	s.mu.Lock()
	slow := s.slow
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.away != nil {
		return s.away
	}
	for i, d := range docs {
		if s.most > 0 && i == s.most {
			return errors.New("failed in the middle")
		}
		s.docs[d.id] = d.n
		s.times[d.id] = append(s.times[d.id], time.Now())
	}
	return nil
}

func (s *memory) set(away error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *memory) state() (map[string]int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.docs), s.writes
}

type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func start(t *testing.T, s *memory) (*Writer[string, doc], *lines) {
	s.docs, s.times = map[string]int{}, map[string][]time.Time{}
	log := &lines{}
	w := New(func(d *doc) string { return d.id }, s.write, slog.New(slog.NewTextHandler(log, nil)))
	go w.Run(t.Context())
	return w, log
}

func TestOnlyTheNewestIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{}
		w, _ := start(t, s)
		w.Add([]doc{{"a", 1}, {"b", 1}}, 1)
		w.Add([]doc{{"a", 2}}, 2)
		time.Sleep(interval) // the first may be in a write already
		synctest.Wait()
		if docs, _ := s.state(); docs["a"] != 2 || docs["b"] != 1 || !w.Flushed() || w.Watermark() != 2 {
			t.Errorf("%v, flushed %t, up to %d", docs, w.Flushed(), w.Watermark())
		}
		for n := range 500 {
			w.Add([]doc{{"a", n}}, uint64(3+n))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(interval)
		synctest.Wait()
		if docs, writes := s.state(); docs["a"] != 499 || writes > 3 {
			t.Errorf("%v after %d writes", docs, writes)
		}
	})
}

func TestFailedWritesAreRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{away: errors.New("away")}
		w, log := start(t, s)
		w.Add([]doc{{"a", 1}}, 7)
		time.Sleep(5 * interval)
		synctest.Wait()
		if w.Watermark() != 0 || w.Flushed() {
			t.Errorf("nothing is written, but flushed %t up to %d", w.Flushed(), w.Watermark())
		}
		w.Add([]doc{{"a", 2}, {"b", 1}}, 9) // newer than the waiting ones
		s.set(nil)
		time.Sleep(2 * interval)
		synctest.Wait()
		if docs, _ := s.state(); docs["a"] != 2 || docs["b"] != 1 || w.Watermark() != 9 || !w.Flushed() {
			t.Errorf("%v, flushed %t, up to %d", docs, w.Flushed(), w.Watermark())
		}
		if n := strings.Count(log.b.String(), "documents_wait_for_the_store"); n != 1 {
			t.Errorf("%d warnings of one outage:\n%s", n, log.b.String())
		}
	})
}

func TestAHangingWriteTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{slow: time.Hour}
		w, _ := start(t, s)
		w.Add([]doc{{"a", 1}}, 1)
		time.Sleep(writeTimeout / 2)
		if w.Flushed() {
			t.Error("settled while it is being written")
		}
		w.Add([]doc{{"a", 2}}, 2) // while the other is being written
		s.mu.Lock()
		s.slow = 0
		s.mu.Unlock()
		time.Sleep(writeTimeout + 2*interval)
		synctest.Wait()
		if docs, _ := s.state(); docs["a"] != 2 || w.Watermark() != 2 {
			t.Errorf("%v up to %d", docs, w.Watermark())
		}
	})
}

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

func TestPositionsWithoutDocuments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{away: errors.New("away")}
		w, _ := start(t, s)
		w.Add(nil, 5) // without documents to write
		if w.Watermark() != 5 || !w.Flushed() {
			t.Errorf("up to %d", w.Watermark())
		}
		w.Add([]doc{{"a", 1}}, 6)
		w.Add(nil, 7)
		time.Sleep(3 * interval)
		synctest.Wait()
		if w.Watermark() != 5 {
			t.Errorf("up to %d, but the document of 6 is not written", w.Watermark())
		}
		s.set(nil)
		time.Sleep(2 * interval)
		synctest.Wait()
		if w.Watermark() != 7 {
			t.Errorf("up to %d", w.Watermark())
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{slow: time.Hour}
		w := New(func(d *doc) string { return d.id }, s.write, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		w.Add([]doc{{"a", 1}}, 1)
		synctest.Wait()
		cancel()
		<-done
		if w.Flushed() || w.Watermark() != 0 {
			t.Error("what was not written is taken for written")
		}
	})
}

// noneTwiceASecond checks that a document is written at most once in a second.
func (s *memory) noneTwiceASecond(t *testing.T) {
	t.Helper()
	for id, at := range s.times {
		for i := range at[:max(len(at)-1, 0)] {
			if d := at[i+1].Sub(at[i]); d < interval {
				t.Fatalf("%s was written again after %v", id, d)
			}
		}
	}
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

// TestLagCountsTheBatch: a document that changes while it is written counts once, with
// the age of its first change.
func TestLagCountsTheBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{slow: 10 * time.Second}
		w, _ := start(t, s)
		w.Add([]doc{{"a", 1}, {"b", 1}}, 1)
		time.Sleep(3 * time.Second)
		w.Add([]doc{{"a", 2}, {"c", 1}}, 2)
		time.Sleep(time.Second)
		if l := w.Lag(); l != (Lag{3, 4 * time.Second}) {
			t.Errorf("while the first are written: %+v", l)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if l := w.Lag(); l != (Lag{2, 7 * time.Second}) {
			t.Errorf("after that: %+v", l)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if l := w.Lag(); l != (Lag{}) || !w.Flushed() {
			t.Errorf("at last: %+v", l)
		}
	})
}

// TestARefusedDocumentDelaysNoOther: the others are written.
func TestARefusedDocumentDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{docs: map[string]int{}, times: map[string][]time.Time{}}
		refuse := func(ctx context.Context, docs []doc) error {
			for _, d := range docs {
				if d.id == "bad" {
					return errors.New("refused")
				}
			}
			return s.write(ctx, docs)
		}
		w := New(func(d *doc) string { return d.id }, refuse, slog.New(slog.DiscardHandler))
		go w.Run(t.Context())
		w.Add([]doc{{"bad", 1}}, 1)
		synctest.Wait()
		docs := make([]doc, 3*maxBatch)
		for i := range docs {
			docs[i] = doc{strconv.Itoa(i), i}
		}
		w.Add(docs, 2)
		for range 60 {
			time.Sleep(interval)
		}
		synctest.Wait()
		if got, _ := s.state(); len(got) < 2*maxBatch || w.Watermark() != 0 {
			t.Errorf("%d documents, up to %d", len(got), w.Watermark())
		}
	})
}

// TestWhatTheStoreNeverTakesIsReported: one document is refused, another one makes the
// store panic. Both count as written, and each is reported once.
func TestWhatTheStoreNeverTakesIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &memory{docs: map[string]int{}, times: map[string][]time.Time{}}
		write := func(ctx context.Context, docs []doc) error {
			var refused store.RefusedError
			var good []doc
			for _, d := range docs {
				switch d.id {
				case "hostile":
					panic("at " + d.id)
				case "large":
					_ = refused.Collect(store.Refuse(d.id, errors.New("it is too large")))
				default:
					good = append(good, d)
				}
			}
			return cmp.Or(s.write(ctx, good), refused.OrNil())
		}
		reported := map[string]int{}
		w := New(func(d *doc) string { return d.id }, write, slog.New(slog.DiscardHandler))
		w.Refused = func(d doc, _ error) { reported[d.id]++ }
		docs := []doc{{"large", 1}, {"hostile", 1}}
		for i := range 100 {
			docs = append(docs, doc{strconv.Itoa(i), i})
		}
		w.Add(docs, 5)
		go w.Run(t.Context())
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got, _ := s.state(); len(got) != 100 || w.Watermark() != 5 || !w.Flushed() {
			t.Errorf("%d documents, up to %d", len(got), w.Watermark())
		}
		if reported["large"] != 1 || reported["hostile"] != 1 || len(reported) != 2 {
			t.Errorf("reported %v", reported)
		}
	})
}

// TestTheWatermarkCountsOnlyWrites adds, fails and recovers in any order. The store
// has all changes up to the watermark, or newer ones.
func TestTheWatermarkCountsOnlyWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 40).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			s := &memory{}
			w, _ := start(t, s)
			changed := map[string]int{} // key → position of its newest change
			behind := map[uint64]map[string]int{}
			for i, step := range steps {
				pos := uint64(i + 1)
				switch step {
				case 0:
					s.set(errors.New("away"))
				case 1:
					s.set(nil)
				case 2, 3:
					time.Sleep(interval / 3)
				case 4:
					time.Sleep(interval)
				case 5:
					s.mu.Lock()
					s.most = 1 - s.most
					s.mu.Unlock()
				case 6:
					w.Add(nil, pos)
				default:
					var docs []doc
					for k := range step - 6 {
						docs = append(docs, doc{strconv.Itoa(k), i + 1})
						changed[docs[k].id] = i + 1
					}
					w.Add(docs, pos)
				}
				synctest.Wait()
				behind[pos] = maps.Clone(changed)
				stored, _ := s.state()
				for id, at := range behind[w.Watermark()] {
					if stored[id] < at {
						t.Fatalf("up to %d: %s has %d, want %d", w.Watermark(), id, stored[id], at)
					}
				}
			}
			s.mu.Lock()
			s.away, s.most = nil, 0
			s.mu.Unlock()
			time.Sleep(3 * interval)
			synctest.Wait()
			if stored, _ := s.state(); !maps.Equal(stored, changed) || !w.Flushed() {
				t.Fatalf("at last %v, want %v", stored, changed)
			}
			s.noneTwiceASecond(t)
		})
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
