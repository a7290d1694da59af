// Package wait waits in tests for a condition.
package wait

import (
	"testing"
	"time"
)

// Patience is the time-out of Until.
const Patience = time.Minute

// Until calls f until it returns nil. It fails the test with f's last error after
// Patience.
func Until(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, Patience, err)
		}
	}
}
