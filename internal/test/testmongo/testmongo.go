// Package testmongo gives tests a server that speaks MongoDB's protocol.
//
// The server is FerretDB on SQLite, built once from the nested module in ./ferretdb and
// run as a process, because tests can't install a real mongod. Its operations are those
// of MongoDB, its concurrency is not: conditional updates of one document are not
// atomic, transactions and change streams are missing, and an update command with about
// a hundred updates hangs forever (see BulkSize). TIDEGATE_TEST_MONGODB_URI names
// another server to use instead.
//
// A server ends with its test, and with the process that started it.
package testmongo

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/testbuild"
)

// EnvURI is the name of the environment variable with the URI of another server.
const EnvURI = "TIDEGATE_TEST_MONGODB_URI"

// BulkSize is the number of updates that one command may have on this server.
const BulkSize = 20

const startTimeout = 20 * time.Second

// URI returns the URI of a server: TIDEGATE_TEST_MONGODB_URI, else that of a new server,
// which stops when the test ends. The test fails when the server can't start. Use a
// database from Database, because all tests share the server of the environment.
func URI(t testing.TB) string {
	t.Helper()
	if uri := os.Getenv(EnvURI); uri != "" {
		return uri
	}
	return StartServer(t).URI
}

// Database returns the name of a database that no other test uses.
func Database() string { return "tidegate_test_" + strings.ToLower(rand.Text()[:16]) }

// Start is URI for programs that are no tests. stop ends the server.
func Start() (uri string, stop func(), err error) {
	if uri := os.Getenv(EnvURI); uri != "" {
		return uri, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "tidegate-mongo-")
	if err != nil {
		return "", nil, err
	}
	s := &Server{dir: dir, addr: "127.0.0.1:0"}
	if err := s.start(); err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, err
	}
	return s.URI, func() {
		s.Stop()
		_ = os.RemoveAll(dir)
	}, nil
}

// Server is a new server. It is not safe for concurrent use.
type Server struct {
	URI string

	dir, addr string
	cmd       *exec.Cmd
	alive     io.Closer // the server's standard input; the server ends when it is closed
}

// StartServer starts a server that the test may stop and restart. It ignores the
// environment. The server stops when the test ends.
func StartServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{dir: t.TempDir(), addr: "127.0.0.1:0"}
	if err := s.start(); err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Restart starts the server again after Stop, at the same address with the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		t.Fatalf("%v", err)
	}
}

// Signal sends a signal to the server's process, such as one that freezes it.
func (s *Server) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Stop kills the server and waits until it has ended. It may be called twice.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.alive.Close()
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *Server) start() error {
	bin, err := testbuild.Program("testmongo/ferretdb", "-tags", "ferretdb_no_postgresql", ".")
	if err != nil {
		return fmt.Errorf("test server of MongoDB's protocol: %w (set %s to use another server)", err, EnvURI)
	}
	if err := s.run(bin); err != nil {
		return fmt.Errorf("test server of MongoDB's protocol at %s: %w", s.addr, err)
	}
	return nil
}

func (s *Server) run(bin string) error {
	cmd := exec.Command(bin, "-addr", s.addr, "-dir", s.dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.alive = cmd, in
	uri, err := firstLine(out)
	if err == nil {
		err = s.answers(uri)
	}
	if err != nil {
		s.Stop()
	}
	return err
}

// firstLine returns the line that the server prints when it listens.
func firstLine(out io.ReadCloser) (string, error) {
	watchdog := time.AfterFunc(startTimeout, func() { _ = out.Close() })
	defer watchdog.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("it ended, or printed no address within %v: %w", startTimeout, err)
	}
	return strings.TrimSpace(line), nil
}

func (s *Server) answers(uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", u.Host, startTimeout)
	if err != nil {
		return err
	}
	s.URI, s.addr = uri, u.Host
	return conn.Close()
}
