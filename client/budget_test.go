package client

import (
	"testing"
	"testing/synctest"
)

// Who waits for room lets the processor do what makes room.
func TestWaitingForRoomIsIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBudget(2, 100)
		for range 2 {
			if err := r.take(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error, 2)
		for range cap(done) {
			go func() { done <- r.take(t.Context(), 10) }()
		}
		synctest.Wait() // returns when all are blocked
		if n := r.taken(); n != 2 {
			t.Errorf("%d events are there", n)
		}
		r.give(2, 20)
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
