package client

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegate-io/tidegate/client/internal/memory"
	"github.com/tidegate-io/tidegate/events"
)

// Option changes how a Client works.
type Option func(*config) error

type config struct {
	source    string
	names     events.Names
	closedAll bool
	closed    map[string]bool
	buffer    int
	maxAge    time.Duration
	settle    time.Duration
	logger    *slog.Logger
	onError   func(error)
	memory    *memory.Server
}

const (
	defaultBuffer = 100_000
	bufferBytes   = 128 << 20
	defaultSettle = 15 * time.Second
)

// Source names the reporting service: the source of usage that gives none. With
// the customer and the id it is the identity of a use.
func Source(name string) Option {
	return func(c *config) error {
		if len(name) > events.MaxIDBytes {
			return fmt.Errorf("source has %d bytes, at most %d are allowed", len(name), events.MaxIDBytes)
		}
		c.source = name
		return nil
	}
}

// Namespace is the namespace of the Tidegate installation on a shared NATS; it
// must be the one in its configuration.
func Namespace(ns string) Option {
	return func(c *config) error {
		for _, r := range ns {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
				return fmt.Errorf("namespace %q: only letters, digits, \"_\" and \"-\" are allowed", ns)
			}
		}
		c.names.Namespace = ns
		return nil
	}
}

// FailClosed makes Check refuse while it cannot know: before the first sync,
// for a feature that no gate has, and beyond MaxAge. It does so for the named
// features, without any for all. The default is to allow.
func FailClosed(features ...string) Option {
	return func(c *config) error {
		c.closedAll = c.closedAll || len(features) == 0
		for _, f := range features {
			c.closed[f] = true
		}
		return nil
	}
}

// Buffer is how many events may wait for their acknowledgement (default
// 100,000, and never more than 128 MiB); beyond it Record waits.
func Buffer(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return errors.New("a buffer of less than one event")
		}
		c.buffer = n
		return nil
	}
}

// MaxAge makes the fail policy answer when the cache has not been current for
// so long (see Client.Age). The default is to keep the last known decisions.
func MaxAge(d time.Duration) Option {
	return func(c *config) error {
		c.maxAge = d
		return nil
	}
}

// Settle is how long after the acknowledgement of a use its effect on a
// decision may take (default 15 s). A block that only this process's own count
// makes is given up when the servers have not confirmed it by then.
func Settle(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return errors.New("settle must be positive")
		}
		c.settle = d
		return nil
	}
}

// Logger is where the client reports what it retries; the default is silent.
func Logger(l *slog.Logger) Option {
	return func(c *config) error {
		c.logger = l
		return nil
	}
}

// OnError is called with every error that the client retries or drops over. It
// must not block.
func OnError(f func(error)) Option {
	return func(c *config) error {
		c.onError = f
		return nil
	}
}

// InMemory makes the client talk to a server in memory instead of NATS. It is
// for the package clienttest; others can't name the argument's type.
func InMemory(s *memory.Server) Option {
	return func(c *config) error {
		c.memory = s
		return nil
	}
}
