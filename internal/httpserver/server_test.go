package httpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brief are time-outs that a test can wait for.
var brief = Timeouts{Head: 150 * time.Millisecond, Body: 150 * time.Millisecond, Write: 600 * time.Millisecond, Idle: 150 * time.Millisecond, Stuck: 150 * time.Millisecond}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// start serves h until the test ends, and returns the address.
func start(t *testing.T, h http.HandlerFunc, change ...func(*Options)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Handler: h, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	s := New(l, o)
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func withTimeouts(o *Options) { o.Timeouts = brief }

// dial connects, and closes at the end of the test.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// status reads the head and body of an answer.
func status(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// ends reads until the server closes the connection.
func ends(t *testing.T, c net.Conn) string {
	t.Helper()
	all, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stands open after %s; so far it has %q", patience, all)
	}
	return string(all)
}

// TestConnectionsEnd: whatever a client holds back, its connection ends.
func TestConnectionsEnd(t *testing.T) {
	t.Parallel()
	addr := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/read":
			if _, err := io.ReadAll(r.Body); err != nil {
				w.WriteHeader(http.StatusRequestTimeout)
			}
		case "/unread":
			w.WriteHeader(http.StatusUnauthorized)
		}
	}, withTimeouts)
	for name, request := range map[string]string{
		"nothing":                  "",
		"half a request line":      "GE",
		"half a head":              "GET /read HTTP/1.1\r\nHost: a\r\n",
		"an idle connection":       "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"half a body":              "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
		"half a chunked body":      "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
		"a body that is not read":  "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
		"chunks that are not read": "POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
		"a large one":              "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nhalf",
		"one that is awaited":      "POST /read HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
		"OPTIONS *":                "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
	} {
		c := dial(t, addr)
		send(t, c, request)
		answer := ends(t, c)
		if want := map[string]string{"half a body": "HTTP/1.1 408 ", "a body that is not read": "HTTP/1.1 401 ", "an idle connection": "HTTP/1.1 200 "}[name]; !strings.HasPrefix(answer, want) {
			t.Errorf("%s: %q, want %q", name, answer, want)
		}
	}
}

// TestSlowReader: an answer that is not read ends the connection.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	addr := start(t, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for {
			if _, err := w.Write(block); err != nil {
				gone <- err
				return
			}
		}
	}, withTimeouts)
	send(t, dial(t, addr), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the handler writes on")
	}
}

// TestLongAnswerIsNotCut: when the body has come, no read deadline ends the request.
func TestLongAnswerIsNotCut(t *testing.T) {
	t.Parallel()
	addr := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			w.WriteHeader(http.StatusInternalServerError)
		case <-time.After(4 * brief.Body): // what is tested is that time passes
		}
	}, func(o *Options) { o.Timeouts = Timeouts{Body: brief.Body} })
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		c := dial(t, addr)
		send(t, c, request)
		if got := status(t, bufio.NewReader(c)); got != 200 {
			t.Errorf("%.4s: %d", request, got)
		}
	}
}

func TestHeadIsBounded(t *testing.T) {
	t.Parallel()
	addr := start(t, func(http.ResponseWriter, *http.Request) {})
	for size, want := range map[int]int{maxHeadBytes - 1024: 200, maxHeadBytes + 1024: 431} {
		c := dial(t, addr)
		head := "GET / HTTP/1.1\r\nHost: a\r\nX-Long: "
		send(t, c, head+strings.Repeat("x", size-len(head)-4)+"\r\n\r\n")
		if got := status(t, bufio.NewReader(c)); got != want {
			t.Errorf("a head of %d bytes: %d, want %d", size, got, want)
		}
	}
}

// TestConnectionsAreBounded: a new connection takes the place of the one that has
// waited longest, and never of one with a request under way.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	addr := start(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			entered <- struct{}{}
			<-leave
		}
	}, func(o *Options) { o.Connections = func() int { return 3 } })
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	busy := dial(t, addr)
	send(t, busy, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	idle := dial(t, addr)
	send(t, idle, get)
	idleReader := bufio.NewReader(idle)
	status(t, idleReader)
	silent := dial(t, addr)
	ended := make(chan string, 2)
	for name, c := range map[string]net.Conn{"the idle one": idle, "the silent one": silent} {
		go func() {
			if got := ends(t, c); got != "" {
				t.Errorf("%s: %q", name, got)
			}
			ended <- name
		}()
	}
	for left := 2; left > 0; { // each takes the place of another; the idle one may be known as such only later
		c := dial(t, addr)
		send(t, c, get)
		if got := status(t, bufio.NewReader(c)); got != 200 {
			t.Fatalf("a connection: %d", got)
		}
		select {
		case <-ended:
			left--
		default:
		}
	}
	close(leave)
	if got := status(t, bufio.NewReader(busy)); got != 200 {
		t.Errorf("the busy one: %d", got)
	}
}

// TestFullOfRequests: when all connections have a request under way, a new one waits.
func TestFullOfRequests(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan string, 3), make(chan struct{})
	addr := start(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- r.URL.Path
		<-leave
	}, func(o *Options) { o.Connections = func() int { return 2 } })
	var conns []net.Conn
	for i := range 3 {
		c := dial(t, addr)
		send(t, c, fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", i))
		conns = append(conns, c)
		if i < 2 {
			<-entered
		}
	}
	leave <- struct{}{} // one ends, and its place is free
	if got := <-entered; got != "/2" {
		t.Errorf("then came %s", got)
	}
	close(leave)
	for _, c := range conns {
		if got := status(t, bufio.NewReader(c)); got != 200 {
			t.Error(got)
		}
	}
}

// TestShutdownWhileOneWaits: Accept that waits for room ends with the listener.
func TestShutdownWhileOneWaits(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}, 2), make(chan struct{})
	addr := start(t, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave }, func(o *Options) { o.Connections = func() int { return 1 } })
	for range 2 {
		send(t, dial(t, addr), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	<-entered
	time.AfterFunc(50*time.Millisecond, func() { close(leave) })
}
