package teststripe

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/testbuild"
)

// Mocks holds the versions of stripe-mock that Mock can start, by API version.
var Mocks = map[string]string{"2023-10-16": "teststripe/mock183", "2026-08-26": "teststripe/mock203"}

// Mock starts the official stripe-mock of an API version and returns its address. The
// mock accepts every key with the right form, checks each request against Stripe's
// specification, and answers with samples. It stops when the test ends.
func Mock(t testing.TB, version string) string {
	t.Helper()
	bin, err := testbuild.Program(Mocks[version], "github.com/stripe/stripe-mock")
	if err != nil {
		t.Fatalf("stripe-mock: %v", err)
	}
	// With only one address, it would open a second listener on all interfaces.
	cmd := exec.Command(bin, "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), "Listening for HTTP at address: "); ok {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return "http://" + addr
		}
	}
	t.Fatalf("stripe-mock ended, or printed no address: %v", lines.Err())
	return ""
}
