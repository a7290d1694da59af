// Package writeback writes documents in the background: the newest state of
// each only, and again until it has worked. Nobody waits for it, so a database
// that is slow or away stops neither folding nor deciding; meanwhile there is
// one entry for each document that has changed, however often it does.
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

// Writer writes documents of one kind, each a T, or what one can be made of,
// with the key K. Make it with New and run it with Run.
type Writer[K comparable, T any] struct {
	// Eager writes what is added without a pause after what was written before:
	// who adds documents sees to it that none comes twice in a second.
	Eager bool

	key   func(*T) K
	write func(context.Context, []T) error
	log   *slog.Logger

	mu      sync.Mutex
	pending waiting[K, T] // changed since the round began
	round   waiting[K, T] // being written; a document is in one of both
	flying  []T           // taken out of the round for the write that is under way
	busy    bool          // there is a round
	upTo    uint64        // what changed up to here is above, or written
	roundTo uint64        // upTo of the round
	written uint64        // what changed up to here is written
	failing bool
	wake    chan struct{}

	size int // of batches; only Run uses it
}

// waiting are documents that wait, and since when the first one has.
type waiting[K comparable, T any] struct {
	docs  map[K]T
	since time.Time
}

// Lag is what waits to be written.
type Lag struct {
	Waiting int           // documents
	Oldest  time.Duration // how long the first of them has waited, at most
}

// New returns a writer of documents that key tells apart. write may be given a
// document again, and newer ones after older ones; it must not keep the slice.
func New[K comparable, T any](key func(*T) K, write func(context.Context, []T) error, log *slog.Logger) *Writer[K, T] {
	w := &Writer[K, T]{key: key, write: write, log: log, wake: make(chan struct{}, 1), size: batch}
	w.pending.docs, w.round.docs = map[K]T{}, map[K]T{}
	return w
}

// Add takes over the documents that changed up to a position.
func (w *Writer[K, T]) Add(docs []T, upTo uint64) {
	w.mu.Lock()
	for i := range docs {
		key := w.key(&docs[i])
		if _, soon := w.round.docs[key]; soon {
			w.round.docs[key] = docs[i]
			continue
		}
		if len(w.pending.docs) == 0 {
			w.pending.since = time.Now()
		}
		w.pending.docs[key] = docs[i]
	}
	w.upTo = max(w.upTo, upTo)
	if w.settled() {
		w.written = w.upTo
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watermark is the position up to which every change is written.
func (w *Writer[K, T]) Watermark() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// Settled says whether everything handed over is written.
func (w *Writer[K, T]) Settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settled()
}

func (w *Writer[K, T]) settled() bool { return len(w.pending.docs) == 0 && !w.busy }

// Lag is what waits now.
func (w *Writer[K, T]) Lag() Lag {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := Lag{Waiting: len(w.pending.docs) + len(w.round.docs)}
	for i := range w.flying {
		if _, changed := w.pending.docs[w.key(&w.flying[i])]; !changed {
			l.Waiting++
		}
	}
	switch {
	case w.busy:
		l.Oldest = time.Since(w.round.since)
	case l.Waiting > 0:
		l.Oldest = time.Since(w.pending.since)
	}
	return l
}

// Run writes until ctx is done.
func (w *Writer[K, T]) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for !w.writeRound(ctx) {
			if !pause(ctx) {
				return
			}
		}
		if !w.Eager && !pause(ctx) {
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

// writeRound writes what waits now; false when some of it is left.
func (w *Writer[K, T]) writeRound(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.busy {
		w.round, w.pending = w.pending, waiting[K, T]{docs: map[K]T{}}
		w.roundTo, w.busy = w.upTo, true
	}
	for len(w.round.docs) > 0 {
		w.take()
		if err := w.fly(ctx); err != nil {
			w.putBack()
			if !w.failing && ctx.Err() == nil {
				w.log.Warn("documents_wait_for_the_store", "error", err)
				w.failing = true
			}
			return false
		}
	}
	w.flying, w.round.docs = nil, map[K]T{} // a map keeps the space that it once needed
	w.written, w.busy, w.failing = w.roundTo, false, false
	return true
}

func (w *Writer[K, T]) take() {
	w.flying = w.flying[:0]
	for key, doc := range w.round.docs {
		w.flying = append(w.flying, doc)
		delete(w.round.docs, key)
		if len(w.flying) >= w.size {
			return
		}
	}
}

// fly writes what was taken. The caller holds the lock, which is open meanwhile.
// A store that is too slow for a batch gets smaller ones: the same one would be
// too much each time.
func (w *Writer[K, T]) fly(ctx context.Context) error {
	w.mu.Unlock()
	defer w.mu.Lock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	n, start := len(w.flying), time.Now()
	if err := w.write(ctx, w.flying); err != nil {
		w.size = max(min(w.size, n)/4, small)
		return err
	}
	if n >= w.size && time.Since(start) < limit/4 {
		w.size = min(2*w.size, batch)
	}
	return nil
}

// putBack makes everything that waits the round: one document that the store
// does not take must not keep the newer ones back.
func (w *Writer[K, T]) putBack() {
	for _, doc := range w.flying {
		w.round.docs[w.key(&doc)] = doc
	}
	clear(w.flying)
	w.flying = w.flying[:0]
	for key, doc := range w.pending.docs {
		w.round.docs[key] = doc
	}
	clear(w.pending.docs)
	w.roundTo = w.upTo
}
