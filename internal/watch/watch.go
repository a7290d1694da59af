// Package watch notices changes of a file.
package watch

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// File reads the file at path every interval until ctx ends. For each change it calls
// report once, with the new content or with the error of reading it. A report that
// returns false is repeated an interval later, unless the file has changed again. seen
// is the SHA-256 of the content in force, so that File does not miss a change since it was
// read; with zero, File reports the present file.
//
// A change counts when two consecutive reads are equal, because editors write in
// steps. File does not report a file that is missing from the beginning before it
// appears. report runs on the goroutine of File, one call at a time.
func File(ctx context.Context, path string, seen [sha256.Size]byte, interval time.Duration, report func(data []byte, err error) bool) {
	last, pending := reading{sum: seen}, reading{}
	if first := read(path); first.err != nil {
		last = first
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := read(path)
		switch {
		case now.same(last):
			pending = last
		case !now.same(pending):
			pending = now
		case report(now.data, now.err):
			last = now
		}
	}
}

// reading is the result of reading the file. File compares the content, because the
// file's time does not show two changes within one tick of the clock.
type reading struct {
	data []byte
	sum  [sha256.Size]byte // zero when it could not be read
	err  error
}

func read(path string) reading {
	data, err := os.ReadFile(path)
	if err != nil {
		return reading{err: err}
	}
	return reading{data: data, sum: sha256.Sum256(data)}
}

func (r reading) same(o reading) bool {
	if r.err != nil && o.err != nil {
		return r.err.Error() == o.err.Error()
	}
	return r.err == nil && o.err == nil && r.sum == o.sum
}
