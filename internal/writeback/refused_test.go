package writeback

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/internal/store"
)

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
