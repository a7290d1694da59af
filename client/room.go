package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// room bounds the events that wait for their acknowledgements.
type room struct {
	maxEvents, maxBytes int64
	events, bytes       atomic.Int64
	waiters             atomic.Int64
	wake                wake
}

func newRoom(events, bytes int) *room { return &room{maxEvents: int64(events), maxBytes: int64(bytes)} }

// take makes room for one event, or returns ErrBufferFull when none comes free
// until ctx ends.
func (r *room) take(ctx context.Context, size int) error {
	if r.try(size) {
		return nil
	}
	r.waiters.Add(1)
	defer r.waiters.Add(-1)
	for {
		freed := r.wake.wait() // before the attempt, so that none is missed
		// An attempt that fails wakes everyone, this one too.
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

func (r *room) fits(size int) bool {
	return r.events.Load() < r.maxEvents && r.bytes.Load()+int64(size) <= r.maxBytes
}

func (r *room) try(size int) bool {
	events, bytes := r.events.Add(1), r.bytes.Add(int64(size))
	if events <= r.maxEvents && bytes <= r.maxBytes {
		return true
	}
	r.give(1, size) // wakes others too, for they may have failed over this attempt
	return false
}

// give frees the room of n events.
func (r *room) give(n, size int) {
	r.bytes.Add(-int64(size))
	left := r.events.Add(-int64(n))
	if r.waiters.Load() > 0 || left == 0 {
		r.wake.broadcast()
	}
}

func (r *room) taken() int64 { return r.events.Load() }

// empty waits until nothing is left.
func (r *room) empty(ctx context.Context) error {
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

// wake lets goroutines wait for the next broadcast. The zero value is ready.
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
