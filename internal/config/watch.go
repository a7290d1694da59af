package config

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// Watch reads the file at path every interval until ctx ends, and calls report
// once for each change: with the new configuration, or with what is wrong with
// it (as Load does), after which the caller keeps the old one. current is the
// configuration in force, so that nothing written since it was read is missed;
// nil reports the file as it is.
//
// A change counts when two reads in a row agree, as editors write in steps. A
// file that is missing from the beginning is not reported before it appears.
// report runs on the goroutine of Watch, one call at a time.
func Watch(ctx context.Context, path string, env func(string) (string, bool), current *Config, interval time.Duration, report func(*Config, error)) {
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
		default:
			seen = now
			report(loaded(path, now.data, env))
		}
	}
}

// reading is what a look at the file gave. The file is small, so its content
// is compared: its time alone misses two changes within one tick of a clock.
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
