package config

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// Watch reads the file at path every interval until ctx ends. For each change it calls
// report once, with the new configuration or with the error of Load. After an error
// the caller keeps the old configuration. A report that returns false has not taken the
// configuration: it is called again an interval later, unless the file has changed
// again. current is the configuration in force, so
// that Watch does not miss a change since it was read; with nil, Watch reports the
// present file.
//
// A change counts when two consecutive reads are equal, because editors write in
// steps. Watch does not report a file that is missing from the beginning before it
// appears. report runs on the goroutine of Watch, one call at a time.
func Watch(ctx context.Context, path string, env func(string) (string, bool), current *Config, interval time.Duration, report func(*Config, error) bool) {
	var seen, pending reading
	if current != nil {
		seen.sum = current.source
	}
	if first := read(path); first.err != nil {
		seen = first
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
		case now.same(seen):
			pending = seen
		case !now.same(pending):
			pending = now
		case now.err != nil:
			seen = now
			report(nil, now.err)
		case report(loaded(path, now.data, env)):
			seen = now
		}
	}
}

// reading is the result of reading the file. Watch compares the content, because the
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
