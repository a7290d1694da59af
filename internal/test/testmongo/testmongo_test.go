package testmongo

import (
	"net"
	"net/url"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, uri string) error {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

func TestServerStopsAndRestartsAtItsAddress(t *testing.T) {
	t.Parallel()
	s := StartServer(t)
	before := s.URI
	if err := dial(t, before); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
	if err := dial(t, before); err == nil {
		t.Fatal("a stopped server still listens")
	}
	s.Restart(t)
	if s.URI != before {
		t.Fatalf("restarted at %s, was at %s", s.URI, before)
	}
	if err := dial(t, s.URI); err != nil {
		t.Fatal(err)
	}
}

func TestStart(t *testing.T) {
	t.Setenv(EnvURI, "")
	uri, stop, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	if err := dial(t, uri); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := dial(t, uri); err == nil {
		t.Fatal("a stopped server still listens")
	}
}

func TestServerOfTheEnvironment(t *testing.T) {
	const other = "mongodb://mongo.test:27017/"
	t.Setenv(EnvURI, other)
	if got := URI(t); got != other {
		t.Errorf("URI is %s", got)
	}
	if got, stop, err := Start(); err != nil || got != other {
		t.Errorf("Start gives %s, %v", got, err)
	} else {
		stop()
	}
}

func TestServersAreSeparate(t *testing.T) {
	t.Parallel()
	a, b := StartServer(t), StartServer(t)
	if a.URI == b.URI {
		t.Errorf("two servers at %s", a.URI)
	}
	if a, b := Database(), Database(); a == b {
		t.Errorf("two databases called %s", a)
	}
}
