package testbuild

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// module writes a nested module with a program.
func module(t *testing.T, program string) string {
	t.Helper()
	src := t.TempDir()
	for name, content := range map[string]string{"main.go": "package main\n" + program + "\n", "go.mod": "module x\n"} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return src
}

func TestConcurrentCallersGetOneBinary(t *testing.T) {
	if _, err := source("testmongo/ferretdb"); err != nil {
		t.Fatal(err)
	}
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("internal", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(module(t, "func main() {}"), filepath.Join("internal", "small")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	paths := make([]string, 8)
	for i := range paths {
		wg.Go(func() {
			var err error
			if paths[i], err = Program("small", "."); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, p := range paths {
		if p == "" || p != paths[0] {
			t.Fatalf("paths %q", paths)
		}
	}
	if other, err := Program("small", "-tags", "other", "."); err != nil || other == paths[0] {
		t.Errorf("other arguments: %s, %v", other, err)
	}
}

func TestMissingSource(t *testing.T) {
	t.Parallel()
	if _, err := Program("none"); err == nil || !strings.Contains(err.Error(), "internal/none") {
		t.Errorf("error %v", err)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "bin")
	if err := build(module(t, "func main() { none() }"), bin, []string{"."}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a program that does not compile: %v", err)
	}
	if _, err := os.Stat(bin); err == nil {
		t.Error("and stands there")
	}
}
