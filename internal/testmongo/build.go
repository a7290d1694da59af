package testmongo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// binary is the path of the server's program. It is built once per content of
// the nested module and version of Go, and kept in the user's cache.
func binary() (string, error) {
	src, err := source()
	if err != nil {
		return "", err
	}
	key, err := digest(src)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "ferretdb-"+key)
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	// The packages of one `go test` run at once, and a build takes a minute:
	// one builds, the others wait.
	unlock, err := lock(bin + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	return bin, build(src, bin)
}

// build builds beside bin and renames, so that bin is never half written.
func build(src, bin string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(bin), "build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	made := filepath.Join(tmp, "ferretdb")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "ferretdb_no_postgresql", "-ldflags", "-s -w", "-o", made, ".")
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s: %w\n%s", src, err, out)
	}
	return os.Rename(made, bin)
}

// source is the directory of the nested module: where this file was compiled,
// or (-trimpath) below one of the working directory's parents.
func source() (string, error) {
	var starts []string
	if _, file, _, ok := runtime.Caller(0); ok {
		starts = append(starts, filepath.Dir(file))
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			starts = append(starts, filepath.Join(dir, "internal", "testmongo"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range starts {
		src := filepath.Join(dir, "ferretdb")
		if _, err := os.Stat(filepath.Join(src, "go.mod")); err == nil {
			return src, nil
		}
	}
	return "", errors.New("its source, internal/testmongo/ferretdb, is not here: run inside the repository")
}

func digest(src string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		b, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, name, len(b))
		_, _ = h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil { // no home directory
		base = os.TempDir()
	}
	dir := filepath.Join(base, "tidegate-test")
	return dir, os.MkdirAll(dir, 0o755)
}
