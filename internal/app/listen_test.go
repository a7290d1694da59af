package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/httpserver"
	"github.com/tidegate-io/tidegate/internal/misuse"
)

// TestSlowClientsAreDropped: whatever address it is that a client asks for and then
// holds its body back, whether it has a key or not, its connection ends.
func TestSlowClientsAreDropped(t *testing.T) {
	t.Parallel()
	keys, err := ingest.ParseKeys("a-key-of-the-test")
	if err != nil {
		t.Fatal(err)
	}
	brief := httpserver.Timeouts{Head: 200 * time.Millisecond, Body: 200 * time.Millisecond, Idle: 200 * time.Millisecond}
	a, err := app.Start(t.Context(), app.Settings{Keys: keys, Public: "127.0.0.1:0", Probes: "127.0.0.1:0", Timeouts: brief}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	type attempt struct{ addr, request string }
	var attempts []attempt
	for _, addr := range []string{a.Settings().HTTP, a.Settings().Public, a.Settings().Probes} {
		for _, target := range []string{
			"POST /v1/events", "PUT /v1/customers/acme", "POST /v1/auth", "GET /v1/check", "GET /livez", "GET /metrics", "GET /", "POST /webhooks/stripe", "POST /webhooks/resend",
			"GET /u/x", "POST /unsubscribe/x", "POST /none", "PATCH /v1/events", "DELETE /webhooks/stripe", "POST //v1/events",
		} {
			attempts = append(attempts,
				attempt{addr, target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"},
				attempt{addr, target + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha"})
		}
		attempts = append(attempts, attempt{addr, ""}, attempt{addr, "GET / HTTP/1.1\r\nHo"})
	}
	ended := make(chan error, len(attempts))
	for _, x := range attempts {
		go func() {
			ended <- holdBack(x.addr, x.request)
		}()
	}
	for range attempts {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// holdBack sends half a request and waits until the server closes the connection.
func holdBack(addr, request string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(8 * time.Second)) // far below the bounds that are not set to less
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		line, _, _ := strings.Cut(request, "\r\n")
		return fmt.Errorf("%s %q: the connection stands open", addr, line)
	}
	return nil
}

func TestCertificateAndKeyBelongTogether(t *testing.T) {
	t.Parallel()
	_, err := app.Start(t.Context(), app.Settings{TLSCert: "tls.crt"}, nil, nil)
	if !errors.As(err, new(misuse.Error)) || !strings.Contains(err.Error(), "--tls-key") {
		t.Error(err)
	}
}
