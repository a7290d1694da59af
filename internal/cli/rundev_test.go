package cli

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// runDev runs dev in the present folder until the end of the test. It returns where dev
// is, and what it has said so far.
func runDev(t *testing.T, flags ...string) (devState, func() string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var stdout, stderr testprocess.Output
	said := func() string { return stdout.String() + stderr.String() }
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, append([]string{"dev", "--http", "127.0.0.1:0"}, flags...), Streams{nil, &stdout, &stderr}, build)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != exitOK || t.Failed() {
			t.Errorf("dev: exit %d: %s", code, said())
		}
	})
	wait.Until(t, "dev", func() error {
		if !strings.Contains(said(), "Tidegate is running.") {
			return errors.New("it has not said that it runs")
		}
		return nil
	})
	state, err := readState(".tidegate")
	if err != nil {
		t.Fatal(err)
	}
	return state, said
}
