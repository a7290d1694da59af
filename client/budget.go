package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// budget bounds how many events and bytes may wait for their acknowledgement.
type budget struct {
	maxEvents, maxBytes int64
	events, bytes       atomic.Int64
	waiters             atomic.Int64
	wake                wake
}

func newBudget(events, bytes int) *budget {
	return &budget{maxEvents: int64(events), maxBytes: int64(bytes)}
}

// take takes one event of size bytes out of the budget. It waits while the budget
// is used up, and returns ErrBufferFull when ctx ends first.
func (r *budget) take(ctx context.Context, size int) error {
	if r.try(size) {
		return nil
	}
	r.waiters.Add(1)
	defer r.waiters.Add(-1)
	for {
		freed := r.wake.wait() // before the attempt, so that no broadcast is missed
		// A failed attempt wakes all waiters, this one too.
		if r.fits(size) && r.try(size) {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrBufferFull, ctx.Err())
		}
	}
}

func (r *budget) fits(size int) bool {
	return r.events.Load() < r.maxEvents && r.bytes.Load()+int64(size) <= r.maxBytes
}

func (r *budget) try(size int) bool {
	events, bytes := r.events.Add(1), r.bytes.Add(int64(size))
	if events <= r.maxEvents && bytes <= r.maxBytes {
		return true
	}
	r.give(1, size) // wakes the others: this attempt may have made theirs fail
	return false
}

// give returns n events of size bytes together.
func (r *budget) give(n, size int) {
	r.bytes.Add(-int64(size))
	left := r.events.Add(-int64(n))
	if r.waiters.Load() > 0 || left == 0 {
		r.wake.broadcast()
	}
}

func (r *budget) taken() int64 { return r.events.Load() }

// empty waits until everything has been returned.
func (r *budget) empty(ctx context.Context) error {
	r.waiters.Add(1)
	defer r.waiters.Add(-1)
	for {
		freed := r.wake.wait()
		if r.taken() == 0 {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wake lets goroutines wait for the next broadcast. Its zero value is ready to use.
type wake struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that the next broadcast closes.
func (w *wake) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch == nil {
		w.ch = make(chan struct{})
	}
	return w.ch
}

func (w *wake) broadcast() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch != nil {
		close(w.ch)
		w.ch = nil
	}
}
