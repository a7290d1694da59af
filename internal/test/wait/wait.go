// Package wait waits in tests for what happens soon, but nobody knows when.
package wait

import (
	"testing"
	"time"
)

// Patience is how long tests wait for what should take a moment.
const Patience = 20 * time.Second

// Until calls f until it returns nil, and fails the test with its last error when
// that takes longer than Patience.
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
