package writeback

import (
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

	"github.com/tidegate-io/tidegate/internal/test/testprocess"
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

func start(t *testing.T, s *memory) (*Writer[string, doc], *testprocess.Output) {
	s.docs, s.times = map[string]int{}, map[string][]time.Time{}
	log := &testprocess.Output{}
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
		if n := strings.Count(log.String(), "documents_wait_for_the_store"); n != 1 {
			t.Errorf("%d warnings of one outage:\n%s", n, log.String())
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
