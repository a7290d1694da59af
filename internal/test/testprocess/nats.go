package testprocess

import (
	"net"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// StartNATS starts a NATS server with JetStream at an address, with its store in dir,
// and waits until it answers.
func StartNATS(t testing.TB, addr, dir string) *Process {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	p := Start(t, "nats-server", NATSServer(t), nil, "-js", "-sd", dir, "-a", host, "-p", port)
	wait.Until(t, "NATS answers", func() error {
		nc, err := nats.Connect("nats://" + addr)
		if err == nil {
			nc.Close()
		}
		return err
	})
	return p
}
