package testprocess

import (
	"sync"
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/testbuild"
)

// programs is the folder for programs. Main creates it.
var programs string

// raceFlags enable the race detector in the programs when the tests have it.
var raceFlags []string

// Tidegate returns the path of the command tidegate.
func Tidegate(t testing.TB) string { return built(t, tidegate) }

// NATSServer returns the path of a nats-server of the version in go.mod.
func NATSServer(t testing.TB) string { return built(t, natsServer) }

var (
	tidegate = sync.OnceValues(func() (string, error) {
		return Build("tidegate", "github.com/tidegate-io/tidegate/cmd/tidegate", raceFlags...)
	})
	natsServer = sync.OnceValues(func() (string, error) {
		return Build("nats-server", "github.com/nats-io/nats-server/v2")
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

// Build builds a package and returns the path of the program.
func Build(name, pkg string, flags ...string) (string, error) {
	return testbuild.Command(programs, name, pkg, flags...)
}
