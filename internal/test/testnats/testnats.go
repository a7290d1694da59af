// Package testnats starts real NATS servers with JetStream in the process of a test.
package testnats

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is a running server.
type Server struct {
	URL string
	srv *server.Server
	opt server.Options

	config string // file with accounts and users; "": everybody may do everything
}

// Start starts a server with its own store on a free port. It stops when the test ends.
func Start(t testing.TB) *Server { return StartWith(t, "") }

// StartWith starts a server as Start does, with the accounts and users of a
// configuration.
func StartWith(t testing.TB, config string) *Server {
	t.Helper()
	s := &Server{opt: server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(),
		NoLog: true, NoSigs: true, JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: 16 << 30,
	}}
	if config != "" {
		s.config = filepath.Join(t.TempDir(), "nats.conf")
		if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t)
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) run(t testing.TB) {
	t.Helper()
	opt := s.opt
	if s.config != "" {
		file, err := server.ProcessConfigFile(s.config)
		if err != nil {
			t.Fatalf("nats server: %v", err)
		}
		file.Host, file.Port, file.JetStream, file.StoreDir, file.NoLog, file.NoSigs = opt.Host, opt.Port, true, opt.StoreDir, true, true
		file.JetStreamMaxMemory, file.JetStreamMaxStore = opt.JetStreamMaxMemory, opt.JetStreamMaxStore
		opt = *file
	}
	srv, err := server.NewServer(&opt)
	if err != nil {
		t.Fatalf("nats server: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats server did not start in 10 s")
	}
	s.srv, s.URL = srv, srv.ClientURL()
	s.opt.Port = srv.Addr().(*net.TCPAddr).Port // so that a restart keeps the address
}

// Stop stops the server. Its data stays until the test ends.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Restart stops the server if it runs, and starts it again with the same address and
// store.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.run(t)
}

// StreamDir returns the folder of a stream. While the server is stopped, a test may
// change it.
func (s *Server) StreamDir(name string) string {
	return filepath.Join(s.opt.StoreDir, "jetstream", "$G", "streams", name)
}

// Connect returns a connection that always reconnects. It is closed when the test ends.
func (s *Server) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.URL, append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))...)
	if err != nil {
		t.Fatalf("nats connect: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// JetStream returns a JetStream context with its own connection.
func (s *Server) JetStream(t testing.TB, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(s.Connect(t, opts...))
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	return js
}
