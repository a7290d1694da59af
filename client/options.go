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
	source        string
	names         events.Names
	closedAll     bool
	closed        map[string]bool
	buffer        int
	maxAge        time.Duration
	confirmWithin time.Duration
	carryFor      time.Duration
	logger        *slog.Logger
	onError       func(error)
	memory        *memory.Server
}

const (
	defaultBuffer  = 100_000
	bufferBytes    = 128 << 20
	defaultConfirm = 15 * time.Second
)

// Source names the service that reports: it is the source of usage that gives
// none. Customer, source and id together are the identity of a use.
func Source(name string) Option {
	return func(c *config) error {
		if len(name) > events.MaxIDBytes {
			return fmt.Errorf("source has %d bytes, at most %d are allowed", len(name), events.MaxIDBytes)
		}
		c.source = name
		return nil
	}
}

// Namespace sets the namespace of the Tidegate installation on a shared NATS, as in
// its configuration.
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

// FailClosed makes Check refuse while nothing is known: before the first sync, for
// a feature that no gate has, and beyond MaxAge. It applies to the named features,
// or to all if none is named. The default is to allow.
func FailClosed(features ...string) Option {
	return func(c *config) error {
		c.closedAll = c.closedAll || len(features) == 0
		for _, f := range features {
			c.closed[f] = true
		}
		return nil
	}
}

// Buffer sets how many events may wait for their acknowledgement (default 100,000,
// and never more than 128 MiB). Record waits while the buffer is full.
func Buffer(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return errors.New("a buffer of less than one event")
		}
		c.buffer = n
		return nil
	}
}

// MaxAge makes the fail policy answer when the cache has not been current for d
// (see Client.Age). The default is to keep the last known decisions.
func MaxAge(d time.Duration) Option {
	return func(c *config) error {
		c.maxAge = d
		return nil
	}
}

// ConfirmWithin sets how long the servers may take to confirm an acknowledged use
// by a decision (default 15 s). The client then gives up a block that only its own
// count made.
func ConfirmWithin(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return errors.New("the time to confirm must be positive")
		}
		c.confirmWithin = d
		return nil
	}
}

// Logger sets where the client logs what it retries. By default it logs nothing.
func Logger(l *slog.Logger) Option {
	return func(c *config) error {
		c.logger = l
		return nil
	}
}

// OnError sets a function that is called with every error after which the client
// retries or drops something. It must not block.
func OnError(f func(error)) Option {
	return func(c *config) error {
		c.onError = f
		return nil
	}
}

// InMemory makes the client talk to a server in memory instead of NATS. It is for
// the package clienttest: other packages cannot name the argument's type.
func InMemory(s *memory.Server) Option {
	return func(c *config) error {
		c.memory = s
		return nil
	}
}
