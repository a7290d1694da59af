package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
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

	for token, want := range map[string]string{" ": "there is no token", "\t": "there is no token", "tok-4711": "the token has 8 characters", "0123456789abcde ": "the token has 15 characters"} {
		code, _, stderr := command(t, "", "dev", "--http", "127.0.0.1:0", "--nats", "0.0.0.0:-1", "--nats-token", token)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("--nats-token %q: exit %d: %s", token, code, stderr)
		}
	}

	const token = "tok-4711-of-16-characters"
	state, said := runDev(t, "--nats", "0.0.0.0:-1", "--nats-token", token)
	if said := said(); strings.Contains(said, token) || !strings.Contains(said, "NATS_TOKEN") {
		t.Errorf("dev says %s", said)
	}
	path := filepath.Join(".tidegate", devStateFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v %v", path, info, err)
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
	t.Setenv("NATS_TOKEN", token)
	answers(t, "verify")
}
