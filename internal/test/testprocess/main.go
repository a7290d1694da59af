// Package testprocess runs programs as processes in tests: Tidegate and a NATS server,
// both built once from this module.
package testprocess

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Main runs a package's tests without the developer's settings, and with a folder for
// programs. It fails when a goroutine is left at the end. A package calls it as its
// TestMain.
func Main(m *testing.M) {
	for _, entry := range os.Environ() { // tests ignore the developer's settings
		if name, _, _ := strings.Cut(entry, "="); setting(name) {
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

// setting reports whether a variable is one of Tidegate's.
func setting(variable string) bool {
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
