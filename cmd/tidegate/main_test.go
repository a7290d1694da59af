package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// programs is where the tests' programs are built.
var programs string

// raceFlags make the processes look for races when the tests do.
var raceFlags []string

func TestMain(m *testing.M) {
	for _, entry := range os.Environ() { // what the developer has set is not for the tests
		if name, _, _ := strings.Cut(entry, "="); ours(name) {
			_ = os.Unsetenv(name)
		}
	}
	dir, err := os.MkdirTemp("", "tidegate-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs = dir
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func ours(variable string) bool {
	if strings.HasPrefix(variable, "TIDEGATE_TEST_") {
		return false
	}
	for _, prefix := range []string{"TIDEGATE_", "NATS_", "MONGODB_", "STRIPE_", "RESEND_"} {
		if strings.HasPrefix(variable, prefix) {
			return true
		}
	}
	return false
}

// binary is the path of this command, built once.
func binary(t testing.TB) string { return built(t, tidegateProgram) }

// natsServer is the path of a nats-server of the version in go.mod.
func natsServer(t testing.TB) string { return built(t, natsProgram) }

var (
	tidegateProgram = sync.OnceValues(func() (string, error) { return build("tidegate", ".", raceFlags...) })
	natsProgram     = sync.OnceValues(func() (string, error) {
		return build("nats-server", "github.com/nats-io/nats-server/v2")
	})
)

func built(t testing.TB, program func() (string, error)) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(name, pkg string, flags ...string) (string, error) {
	path := filepath.Join(programs, name)
	args := append(append([]string{"build"}, flags...), "-o", path, pkg)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return path, nil
}

// patience is how long tests wait for what should take a moment.
const patience = 20 * time.Second

// eventually waits until f returns nil, and fails the test with its last error
// when that takes too long.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
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
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}
