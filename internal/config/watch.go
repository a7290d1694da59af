package config

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/watch"
)

// Watch follows the file at path until ctx ends, as watch.File does. For each change
// it calls report once, with the new configuration or with the error of Load. After an
// error the caller keeps the old configuration. A report that returns false has not
// taken the configuration, and is called again. current is the configuration in force,
// so that Watch does not miss a change since it was read; with nil, Watch reports the
// present file.
func Watch(ctx context.Context, path string, env func(string) (string, bool), current *Config, interval time.Duration, report func(*Config, error) bool) {
	var seen [sha256.Size]byte
	if current != nil {
		seen = current.source
	}
	watch.File(ctx, path, seen, interval, func(data []byte, err error) bool {
		if err != nil {
			return report(nil, err)
		}
		return report(guard.Value(func() (*Config, error) { return loaded(path, data, env) }))
	})
}
