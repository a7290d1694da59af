package deploy

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var cold = flag.Bool("cold", false, "build with caches of their own: nothing is shared but downloaded modules")

// TestReproducibleBuild: `make build` gives the same bytes in two folders, one of them a
// git repository, at two times, for two users. Without -cold both builds share the cache
// of packages, which knows folders by -trimpath only: what depends on the folder differs.
func TestReproducibleBuild(t *testing.T) {
	t.Parallel()
	var sums []string
	settings := filepath.Join(t.TempDir(), "env") // of `go env -w`
	if err := os.WriteFile(settings, []byte("GOFLAGS=-gcflags=-N\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, env := range [][]string{
		{"USER=ada", "TZ=UTC", "LANG=C", "GOFLAGS=-buildvcs=auto", "GOENV=off", "GOAMD64=v3"},
		{"USER=grace", "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8", "GOFLAGS=", "GOENV=" + settings, "HOME=" + t.TempDir()},
	} {
		dir := filepath.Join(t.TempDir(), strings.Repeat("x", 1+20*i))
		source(t, dir, time.Unix(1_600_000_000+int64(i)*1_000_000, 0))
		if i == 0 {
			commit(t, dir)
		}
		if *cold {
			env = append(env, "GOCACHE="+t.TempDir())
		}
		sums = append(sums, build(t, dir, env))
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds have the hashes %s", sums)
	}
}

// source copies the files that git knows, or would add, to dir.
func source(t *testing.T, dir string, modified time.Time) {
	t.Helper()
	for name := range strings.SplitSeq(output(t, "..", nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		from, to := filepath.Join("..", name), filepath.Join(dir, name)
		if st, err := os.Lstat(from); name == "" || err != nil || !st.Mode().IsRegular() { // deleted, but not committed yet
			continue
		}
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, b, 0o644)
		}
		if err == nil {
			err = os.Chtimes(to, modified, modified)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// commit makes dir a git repository with one commit.
func commit(t *testing.T, dir string) {
	t.Helper()
	who := []string{"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a"}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"commit", "--quiet", "--message", "Work"}} {
		output(t, dir, who, "git", args...)
	}
}

// build runs make in dir and returns the hash of the program.
func build(t *testing.T, dir string, env []string) string {
	t.Helper()
	own := map[string]bool{}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		own[name] = true
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOTOOLCHAIN"} { // these depend on HOME and GOENV
		if !own[name] {
			env = append(env, name+"="+strings.TrimSpace(output(t, "..", nil, "go", "env", name)))
		}
	}
	output(t, dir, env, "make", "--no-print-directory", "build", "VERSION=v1.2.3", "COMMIT="+strings.Repeat("a", 40))
	b, err := os.ReadFile(filepath.Join(dir, "bin", "tidegate"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s in %s: %v\n%s%s", name, strings.Join(args, " "), dir, err, out, stderr.String())
	}
	return string(out)
}
