//go:build unix

package testbuild

import (
	"os"
	"syscall"
)

// lock waits for the file's lock. The kernel lets go of it when its holder
// dies, so no stale one can stop the tests.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
