package aggregator

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Store is where window documents are written.
type Store interface {
	// WriteUsage writes each document unless the stored one has a newer
	// (Epoch, Seq). After an error some may have been written.
	WriteUsage(ctx context.Context, docs []events.Window) error
}

// Bounds of writing documents.
const (
	documentsEvery = time.Second // at most one write of a document in this time
	documentsBatch = 1000
)

// documents writes windows in the background, the newest state of each only,
// and again until it has worked. Folding never waits for it.
type documents struct {
	store Store
	log   *slog.Logger

	mu      sync.Mutex
	pending map[string]events.Window
	upTo    uint64 // windows changed up to here are pending or written
	written uint64 // windows changed up to here are written
	busy    bool   // some are being written
	failing bool
	wake    chan struct{}
}

func newDocuments(store Store, log *slog.Logger) *documents {
	return &documents{store: store, log: log, pending: map[string]events.Window{}, wake: make(chan struct{}, 1)}
}

// add takes over what changed up to a position.
func (d *documents) add(docs []events.Window, upTo uint64) {
	d.mu.Lock()
	for _, w := range docs {
		d.pending[w.ID()] = w
	}
	d.upTo = max(d.upTo, upTo)
	if len(d.pending) == 0 && !d.busy {
		d.written = d.upTo
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// watermark is the position up to which every change is written.
func (d *documents) watermark() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// settled says whether everything handed over is written.
func (d *documents) settled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pending) == 0 && !d.busy
}

func (d *documents) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		for !d.writeAll(ctx) {
			if !pause(ctx, documentsEvery) {
				return
			}
		}
		if !pause(ctx, documentsEvery) {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// writeAll writes what is pending now; false when some of it is left.
func (d *documents) writeAll(ctx context.Context) bool {
	d.mu.Lock()
	taken, upTo := d.pending, d.upTo
	d.pending, d.busy = map[string]events.Window{}, true
	d.mu.Unlock()
	batch := make([]events.Window, 0, min(len(taken), documentsBatch))
	var err error
	for _, w := range taken {
		batch = append(batch, w)
		if len(batch) == documentsBatch {
			if err = d.write(ctx, batch); err != nil {
				break
			}
			for i := range batch {
				delete(taken, batch[i].ID())
			}
			batch = batch[:0]
		}
	}
	if err == nil && len(batch) > 0 {
		err = d.write(ctx, batch)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
	if err == nil {
		d.written, d.failing = upTo, false
		return true
	}
	for id, w := range taken {
		if _, newer := d.pending[id]; !newer {
			d.pending[id] = w
		}
	}
	if !d.failing && ctx.Err() == nil {
		d.log.Warn("documents_wait_for_the_store", "error", err)
	}
	d.failing = true
	return false
}

func (d *documents) write(ctx context.Context, batch []events.Window) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return d.store.WriteUsage(ctx, batch)
}
