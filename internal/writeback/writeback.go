// Package writeback writes documents in the background: the newest state of
// each only, and again until it has worked. Nobody waits for it, so a database
// that is slow or away stops neither folding nor deciding.
package writeback

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	every = time.Second      // at most one write of a document in this time
	batch = 1000             // documents at most
	small = 8                // documents, however slow the store is
	limit = 30 * time.Second // for one batch
)

// Writer writes documents of one kind. Make it with New and run it with Run.
type Writer[T any] struct {
	key   func(*T) string
	write func(context.Context, []T) error
	log   *slog.Logger

	mu      sync.Mutex
	pending map[string]T
	upTo    uint64 // what changed up to here is pending, being written, or written
	written uint64 // what changed up to here is written
	busy    bool   // some are being written
	failing bool
	wake    chan struct{}

	size int // of batches; only Run uses it
}

// New returns a writer of documents that key tells apart. write may be given a
// document again, and newer ones after older ones.
func New[T any](key func(*T) string, write func(context.Context, []T) error, log *slog.Logger) *Writer[T] {
	return &Writer[T]{key: key, write: write, log: log, pending: map[string]T{}, wake: make(chan struct{}, 1), size: batch}
}

// Add takes over the documents that changed up to a position.
func (w *Writer[T]) Add(docs []T, upTo uint64) {
	w.mu.Lock()
	for i := range docs {
		w.pending[w.key(&docs[i])] = docs[i]
	}
	w.upTo = max(w.upTo, upTo)
	if len(w.pending) == 0 && !w.busy {
		w.written = w.upTo
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watermark is the position up to which every change is written.
func (w *Writer[T]) Watermark() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// Settled says whether everything handed over is written.
func (w *Writer[T]) Settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending) == 0 && !w.busy
}

// Run writes until ctx is done.
func (w *Writer[T]) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for !w.writeAll(ctx) {
			if !pause(ctx) {
				return
			}
		}
		if !pause(ctx) {
			return
		}
	}
}

func pause(ctx context.Context) bool {
	t := time.NewTimer(every)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// writeAll writes what is pending now; false when some of it is left.
func (w *Writer[T]) writeAll(ctx context.Context) bool {
	w.mu.Lock()
	taken, upTo := w.pending, w.upTo
	w.pending, w.busy = map[string]T{}, true
	w.mu.Unlock()
	err := w.writeBatches(ctx, taken)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	if err == nil {
		w.written, w.failing = upTo, false
		return true
	}
	for key, doc := range taken {
		if _, newer := w.pending[key]; !newer {
			w.pending[key] = doc
		}
	}
	if !w.failing && ctx.Err() == nil {
		w.log.Warn("documents_wait_for_the_store", "error", err)
	}
	w.failing = true
	return false
}

// writeBatches removes from docs what it has written. A store that is too slow for
// a batch gets smaller ones: the same one would be too much each time.
func (w *Writer[T]) writeBatches(ctx context.Context, docs map[string]T) error {
	part := make([]T, 0, min(len(docs), w.size))
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		start := time.Now()
		if err := w.write(ctx, part); err != nil {
			w.size = max(min(w.size, len(part))/4, small)
			return err
		}
		for i := range part {
			delete(docs, w.key(&part[i]))
		}
		if len(part) == w.size && time.Since(start) < limit/4 {
			w.size = min(2*w.size, batch)
		}
		part = part[:0]
		return nil
	}
	for _, doc := range docs {
		if part = append(part, doc); len(part) >= w.size {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
