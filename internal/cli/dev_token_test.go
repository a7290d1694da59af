package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestDevWithToken: beyond this machine dev's NATS asks for a token. Commands in the same
// folder know it.
func TestDevWithToken(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("NATS_URL", "")
	for _, addr := range []string{"0.0.0.0:-1", "[::]:-1", ":-1"} {
		code, _, stderr := command(t, "", "dev", "--http", "127.0.0.1:0", "--nats", addr)
		if code != exitUsage || !strings.Contains(stderr, "--nats "+addr+" can be reached from outside, but there is no token: set NATS_TOKEN") {
			t.Errorf("--nats %s without a token: exit %d: %s", addr, code, stderr)
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	var stdout, stderr testprocess.Output
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"dev", "--http", "127.0.0.1:0", "--nats", "0.0.0.0:-1", "--nats-token", "secret"}, Streams{nil, &stdout, &stderr}, build)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != exitOK || t.Failed() {
			t.Errorf("dev: exit %d: %s%s", code, stdout.String(), stderr.String())
		}
	})
	wait.Until(t, "dev", func() error {
		if !strings.Contains(stdout.String(), "Tidegate is running.") {
			return errors.New("it has not said that it runs")
		}
		return nil
	})
	if said := stdout.String() + stderr.String(); strings.Contains(said, "secret") && strings.Contains(said, "NATS_TOKEN=secret") || !strings.Contains(said, "NATS_TOKEN") {
		t.Errorf("dev says %s", said)
	}
	path := filepath.Join(".tidegate", devStateFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v %v", path, info, err)
	}
	state, err := readState(".tidegate")
	if err != nil {
		t.Fatal(err)
	}
	if nc, err := nats.Connect(state.NATS); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("without the token: %v", err)
	}
	answers(t, "verify", "dead")
	t.Setenv("NATS_URL", state.NATS)
	if code, _, stderr := command(t, "", "verify"); code != exitFailed || !strings.Contains(stderr, "log in by NATS_USER") {
		t.Errorf("verify without the token: exit %d: %s", code, stderr)
	}
	t.Setenv("NATS_TOKEN", "secret")
	answers(t, "verify")
}
