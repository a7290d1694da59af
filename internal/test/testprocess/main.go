// Package testprocess runs programs as processes of their own in tests: Tidegate
// itself and a NATS server, both built once from this module.
package testprocess

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Main runs a package's tests: without the developer's own settings, with a folder
// for the programs that are built, and failing if a goroutine is left at the end.
func Main(m *testing.M) {
	for _, entry := range os.Environ() { // what the developer has set is not for the tests
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
