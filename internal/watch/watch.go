// Package watch notices changes of files.
package watch

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// File is Content of the file at path.
func File(ctx context.Context, path string, seen [sha256.Size]byte, interval time.Duration, report func(data []byte, err error) bool) {
	Content(ctx, func() ([]byte, error) { return os.ReadFile(path) }, seen, interval, report)
}

// Content reads files every interval until ctx ends. For each change it calls report once, with the new content or with the error of reading it. A report that
// returns false is repeated an interval later, unless the file has changed again. seen
// is the SHA-256 of the content in force, so that Content does not miss a change since it
// was read; with zero, Content reports the present one.
//
// A change counts when two consecutive reads are equal, because editors write in
// steps. Content does not report a file that is missing from the beginning before it
// appears. report runs on the goroutine of Content, one call at a time.
func Content(ctx context.Context, read func() ([]byte, error), seen [sha256.Size]byte, interval time.Duration, report func(data []byte, err error) bool) {
	last, pending := reading{sum: seen}, reading{}
	if first := take(read); first.err != nil {
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
		now := take(read)
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

// reading is the result of reading. Content compares what was read, because a file's time does not show two changes within one tick of the clock.
type reading struct {
	data []byte
	sum  [sha256.Size]byte // zero when it could not be read
	err  error
}

func take(read func() ([]byte, error)) reading {
	data, err := read()
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
