package billing

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Store is where subscription documents are written. One processor writes at a
// time, from one goroutine.
type Store interface {
	// WriteSubscriptions puts each document, of different customers, in place
	// of the customer's older one, which is one with a position not above its
	// own: a timer changes a document without a new position. When it returns
	// an error it is called again with at least the same customers.
	WriteSubscriptions(ctx context.Context, docs []events.Subscription) error
}

// maxWrite is how many documents are written in one call.
const maxWrite = 500

// Pauses after failed writes; they double.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 15 * time.Second
)

// writer writes documents in the background, of each customer only the newest,
// and tries for ever.
type writer struct {
	store Store
	log   *slog.Logger
	wake  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	pending map[string]numbered // by customer
	flying  map[string]numbered
	newest  uint64 // number of the newest document that was put
}

type numbered struct {
	number uint64
	doc    events.Subscription
}

func newWriter(store Store, log *slog.Logger, written uint64) *writer {
	return &writer{
		store: store, log: log, wake: make(chan struct{}, 1), done: make(chan struct{}),
		pending: map[string]numbered{}, newest: written,
	}
}

// put takes a document; numbers grow.
func (w *writer) put(number uint64, doc events.Subscription) {
	w.mu.Lock()
	w.pending[doc.Customer] = numbered{number, doc}
	w.newest = max(w.newest, number)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// written is the number up to which all documents are written, or were
// replaced by newer ones that are not yet.
func (w *writer) written() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	low := w.newest + 1
	for _, m := range []map[string]numbered{w.pending, w.flying} {
		for _, n := range m {
			low = min(low, n.number)
		}
	}
	return low - 1
}

// run writes until ctx is done.
func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	pause := firstPause
	for {
		docs := w.take()
		if len(docs) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			continue
		}
		err := w.store.WriteSubscriptions(ctx, docs)
		w.settle(err)
		if err == nil {
			pause = firstPause
			continue
		}
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("subscriptions not written", "error", err, "documents", len(docs), "retry_in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// take moves the oldest documents from pending to flying.
func (w *writer) take() []events.Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.SortedFunc(maps.Values(w.pending), func(a, b numbered) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	all = all[:min(len(all), maxWrite)]
	w.flying = make(map[string]numbered, len(all))
	docs := make([]events.Subscription, len(all))
	for i, n := range all {
		docs[i] = n.doc
		w.flying[n.doc.Customer] = n
		delete(w.pending, n.doc.Customer)
	}
	return docs
}

// settle forgets what was written, or takes it back unless a newer document of
// the customer has come.
func (w *writer) settle(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		for customer, n := range w.flying {
			if _, newer := w.pending[customer]; !newer {
				w.pending[customer] = n
			}
		}
	}
	w.flying = nil
}
