package stream

import (
	"fmt"
	"testing"
	"time"
)

// TestPausesAfterALostLogGrow: nothing but a person mends it, so the log is not filled.
func TestPausesAfterALostLogGrow(t *testing.T) {
	t.Parallel()
	s, failures := &Supervisor{}, 0
	last := time.Duration(0)
	for i := range 8 {
		wait := s.pauseAfter(fmt.Errorf("%w: gone", ErrLogLost), &failures, time.Second)
		if wait < minFailurePause || wait < last || wait > maxFailurePause {
			t.Errorf("pause %d is %v after %v", i, wait, last)
		}
		last = wait
	}
	if last != maxFailurePause {
		t.Errorf("the pauses grow to %v", last)
	}
}
