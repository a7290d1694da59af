package stream

import (
	"context"
	"testing"
	"time"
)

// waiting waits in Handle until its ownership has ended.
type waiting struct {
	*tally
	owned   context.Context
	entered chan struct{}
}

func (w *waiting) Start(ctx context.Context, o *Owner) error {
	w.owned = ctx
	return w.tally.Start(ctx, o)
}

func (w *waiting) Handle(*Message) error {
	close(w.entered)
	<-w.owned.Done()
	return context.Cause(w.owned)
}

// TestStoppingDoesNotWaitForWhatAProcessorWaitsFor, such as a store that is away:
// the time that is left is for what comes after.
func TestStoppingDoesNotWaitForWhatAProcessorWaitsFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env.stopTimeout = 400 * time.Millisecond
	w := &waiting{tally: newTally(), entered: make(chan struct{})}
	stop := b.start(t, w)
	b.publish(t, 1)
	<-w.entered
	if err := stop(); err != nil && !IsStop(err) {
		t.Error(err)
	}
}
