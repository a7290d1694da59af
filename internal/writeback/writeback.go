// Package writeback writes documents in the background. It writes only the newest
// state of each document, and repeats a failed write until it succeeds. The roles
// that keep documents call it and do not wait for it, so a slow or absent database
// does not stop them. A Writer holds one entry for each changed document, however
// often the document changes. A Writer is safe for concurrent use, but only one Run
// may run.
package writeback

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/store"
)

const (
	interval     = time.Second      // between two writes of a document
	maxBatch     = 1000             // documents of one write
	minBatch     = 8                // documents of one write to a slow store
	writeTimeout = 30 * time.Second // of one batch
)

// Writer writes documents of one kind, with the key K, which is the document's id in
// the store. A T is a document or its source. New returns a Writer; Run writes.
type Writer[K ~string, T any] struct {
	// Eager makes Run write without pauses. The caller must then add a document at
	// most once in a second. Set it before Run.
	Eager bool

	// Refused, if not nil, is called with each document that the store will never take,
	// from the goroutine of Run. Set it before Run.
	Refused func(doc T, why error)

	key   func(*T) K
	write func(context.Context, []T) error
	log   *slog.Logger

	mu      sync.Mutex
	pending pendingDocs[K, T] // changed since the round began
	round   pendingDocs[K, T] // to be written now; a document is in pending or in round
	batch   []T               // taken from the round, being written now
	inRound bool              // whether there is a round
	upTo    uint64            // position of the newest change that was added
	roundTo uint64            // upTo when the round began
	written uint64            // all changes up to this position are written
	failing bool
	wake    chan struct{}

	size int // documents of the next write; only Run uses it
}

// pendingDocs holds documents that wait, and since when the first one waits.
type pendingDocs[K ~string, T any] struct {
	docs  map[K]T
	since time.Time
}

// Lag says how much waits to be written.
type Lag struct {
	Waiting int           // documents
	Oldest  time.Duration // how long the oldest change has waited, at most
}

// New returns a writer of documents with the given key. write gets a document again
// after an error, and newer versions after older ones. It must not keep the slice.
func New[K ~string, T any](key func(*T) K, write func(context.Context, []T) error, log *slog.Logger) *Writer[K, T] {
	w := &Writer[K, T]{key: key, write: write, log: log, wake: make(chan struct{}, 1), size: maxBatch}
	w.pending.docs, w.round.docs = map[K]T{}, map[K]T{}
	return w
}

// Add adds the documents that changed up to a position.
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
	if w.flushed() {
		w.written = w.upTo
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watermark returns the position up to which all changes are written.
func (w *Writer[K, T]) Watermark() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// Flushed reports whether all added documents are written.
func (w *Writer[K, T]) Flushed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flushed()
}

func (w *Writer[K, T]) flushed() bool { return len(w.pending.docs) == 0 && !w.inRound }

// Lag returns how much waits now.
func (w *Writer[K, T]) Lag() Lag {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := Lag{Waiting: len(w.pending.docs) + len(w.round.docs)}
	for i := range w.batch {
		if _, changed := w.pending.docs[w.key(&w.batch[i])]; !changed {
			l.Waiting++
		}
	}
	switch {
	case w.inRound:
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
	t := time.NewTimer(interval)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// writeRound writes the documents that wait now. It returns false when some are left.
func (w *Writer[K, T]) writeRound(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.inRound {
		w.round, w.pending = w.pending, pendingDocs[K, T]{docs: map[K]T{}}
		w.roundTo, w.inRound = w.upTo, true
	}
	for len(w.round.docs) > 0 {
		w.takeBatch()
		if err := w.writeBatch(ctx); err != nil {
			w.putBack()
			if !w.failing && ctx.Err() == nil {
				w.log.Warn("documents_wait_for_the_store", "error", err)
				w.failing = true
			}
			return false
		}
	}
	w.batch, w.round.docs = nil, map[K]T{} // a new map, because a map never gives memory back
	w.written, w.inRound, w.failing = w.roundTo, false, false
	return true
}

func (w *Writer[K, T]) takeBatch() {
	w.batch = w.batch[:0]
	for key, doc := range w.round.docs {
		w.batch = append(w.batch, doc)
		delete(w.round.docs, key)
		if len(w.batch) >= w.size {
			return
		}
	}
}

// writeBatch writes the batch. The caller holds the mutex, which writeBatch unlocks
// meanwhile. When the store is too slow, the next batch is smaller. A document that the
// store refuses for good counts as written. So does one at which the store panics:
// documents are written one by one until it is found.
func (w *Writer[K, T]) writeBatch(ctx context.Context) error {
	w.mu.Unlock()
	defer w.mu.Lock()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	n, start := len(w.batch), time.Now()
	err := guard.Do(func() error { return w.write(ctx, w.batch) })
	if guard.As(err) != nil {
		if n > 1 {
			w.size = 1
			return err
		}
		err = store.Refuse(string(w.key(&w.batch[0])), err)
	}
	var refused store.RefusedError
	if err := refused.Collect(err); err != nil {
		w.size = max(min(w.size, n)/4, minBatch)
		return err
	}
	w.reportRefused(refused.Documents)
	if n >= w.size && time.Since(start) < writeTimeout/4 {
		w.size = min(2*w.size, maxBatch)
	}
	return nil
}

func (w *Writer[K, T]) reportRefused(all []store.Refused) {
	for _, r := range all {
		for i := range w.batch {
			if string(w.key(&w.batch[i])) == r.ID && w.Refused != nil {
				w.Refused(w.batch[i], r.Why)
			}
		}
	}
}

// putBack adds the batch and all pending documents to the round, so that a document
// that the store refuses does not delay the others.
func (w *Writer[K, T]) putBack() {
	for _, doc := range w.batch {
		w.round.docs[w.key(&doc)] = doc
	}
	clear(w.batch)
	w.batch = w.batch[:0]
	for key, doc := range w.pending.docs {
		w.round.docs[key] = doc
	}
	clear(w.pending.docs)
	w.roundTo = w.upTo
}
