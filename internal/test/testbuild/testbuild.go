// Package testbuild builds programs that tests run as processes. A program that must
// not become a requirement of the module has a nested module, whose go.sum pins its
// dependencies. The functions are safe for concurrent use, also by several processes.
package testbuild

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/gofrs/flock"
)

// Program builds the program of a nested module with args for `go build`, and returns
// its path. module is the module's directory, relative to internal. The program is
// built once for each content of the module, version of Go and args, and kept in the
// user's cache.
func Program(module string, args ...string) (string, error) {
	src, err := source(module)
	if err != nil {
		return "", err
	}
	key, err := digest(src, args)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, filepath.Base(module)+"-"+key)
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	// The packages of one `go test` run concurrently, and a build takes a minute: one
	// process builds, the others wait.
	lock := flock.New(bin + ".lock")
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer func() { _ = lock.Unlock() }()
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	return bin, build(src, bin, args)
}

// build builds in another file and renames it to bin, so that bin is always complete.
func build(src, bin string, args []string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(bin), "build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	made := filepath.Join(tmp, "program")
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", made}, args...)...)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s: %w\n%s", src, err, out)
	}
	return os.Rename(made, bin)
}

// source returns the directory of the nested module, relative to this file or, with
// -trimpath, below a parent of the working directory.
func source(module string) (string, error) {
	var starts []string
	if _, file, _, ok := runtime.Caller(0); ok {
		starts = append(starts, filepath.Dir(filepath.Dir(file)))
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			starts = append(starts, filepath.Join(dir, "internal"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range starts {
		src := filepath.Join(dir, filepath.FromSlash(module))
		if _, err := os.Stat(filepath.Join(src, "go.mod")); err == nil {
			return src, nil
		}
	}
	return "", errors.New("its source, internal/" + module + ", is not here: run inside the repository")
}

func digest(src string, args []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, args)
	files, err := os.ReadDir(src)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(src, f.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, f.Name(), len(b))
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
