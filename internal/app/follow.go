package app

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// followConfig applies the edits of the configuration file. It reports a wrong
// one and keeps the configuration before it.
func (a *App) followConfig(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		waiting := false
		config.Watch(ctx, a.set.Config, os.LookupEnv, a.config.Load(), time.Second, func(c *config.Config, err error) (done bool) {
			if err == nil {
				err = guard.Do(func() error { return a.check(c) })
			}
			switch {
			case err != nil:
				a.log.Warn("configuration_ignored", "error", err)
				return true
			case c.Namespace != a.names.Namespace || c.Partitions != 0 && c.Partitions != a.partitions:
				a.log.Warn("configuration_ignored", "error", "namespace and partitions cannot be changed while Tidegate runs")
				return true
			}
			if err := a.applyLayout(ctx, c); err != nil {
				refused := errors.As(err, new(*jetstream.APIError))
				if !waiting || refused {
					a.log.Warn(map[bool]string{true: "configuration_ignored", false: "configuration_waits"}[refused], "error", err)
				}
				waiting = !refused
				return refused
			}
			if err := a.audit.TakeOver(ctx, configActor(), c.Written()); err != nil {
				if !waiting {
					a.log.Warn("configuration_waits", "error", err)
				}
				waiting = true
				return false
			}
			waiting = false
			if err := guard.Do(func() error { a.setConfig(c); return nil }); err != nil {
				a.log.Error("configuration_taken_over_in_part", "error", err)
				return true
			}
			a.log.Info("configuration_taken_over")
			return true
		})
	}()
	a.onStop("configuration", func(context.Context) error { cancel(); <-done; return nil })
}

// applyLayout gives the streams of usage what an edited configuration says of them,
// before it counts: a window must not be longer than usage is kept. AUDIT follows later,
// when it has the edit.
func (a *App) applyLayout(ctx context.Context, c *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	l := a.layout(c)
	l.Partitions, l.AuditAge = a.partitions, 0
	return stream.Settle(ctx, a.js, l)
}
