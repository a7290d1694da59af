package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
)

func (a *App) connect(ctx context.Context) error {
	opts := []nats.Option{
		nats.Name("tidegate"), nats.ReconnectWait(250 * time.Millisecond),
		nats.IgnoreAuthErrorAbort(), // a user may be on its way
		nats.Timeout(2 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			a.log.Warn("nats_error", "subject", subject, "error", err) // denied permissions show up only here
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				a.log.Warn("nats_disconnected", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { a.log.Info("nats_reconnected") }),
	}
	nc, err := client.Connection{URL: a.set.NATS, Options: a.set.NATSOptions}.Connect(opts...)
	if err != nil {
		return fmt.Errorf("NATS_URL: %w", err)
	}
	a.nc = nc
	if !nc.IsConnected() {
		why := nc.LastError()
		if why == nil {
			why = errors.New("no answer yet")
		}
		a.log.Warn("waiting", "for", "NATS", "error", why)
	}
	a.onStop("nats", func(context.Context) error { nc.Close(); return nil })
	if a.js, err = stream.JetStream(nc); err != nil {
		return err
	}
	a.audit = audit.New(a.js, a.names, a.log)
	cfg := a.config.Load()
	layout := a.layout(cfg)
	if layout.Partitions == 0 && a.embedded {
		layout.Partitions = a.devPartitions(ctx)
	}
	return a.patiently(ctx, "NATS JetStream", func(ctx context.Context) error {
		if a.partitions, err = stream.Ensure(ctx, a.js, layout); err == nil {
			a.decisions, err = a.js.KeyValue(ctx, a.names.Bucket(events.BucketDecisions))
		}
		return err
	}, stream.ErrPartitions)
}

// layout returns what the configuration says of the streams.
func (a *App) layout(c *config.Config) stream.Layout {
	return stream.Layout{Names: a.names, Partitions: c.Partitions, Replicas: a.set.Replicas,
		UsageAge: c.Retention.Usage, Horizon: c.Retention.Horizon, UsageBytes: a.set.UsageBytes, AuditAge: c.Retention.Audit,
		ReadOnly: !a.set.has(RoleEnforcer),
		Changed:  func(d stream.Difference) { a.log.Warn("stream_setting_changed", "change", d.String()) }}
}

// devPartitions is 4 for new data, else what the data was made with.
func (a *App) devPartitions(ctx context.Context) int {
	if _, err := a.js.Stream(ctx, a.names.Stream(events.StreamUsage)); err == nil {
		return 0
	}
	return 4
}

// patiently tries until f works, ctx is done, or the error is one that waiting
// does not mend.
func (a *App) patiently(ctx context.Context, what string, f func(context.Context) error, final ...error) error {
	slow := time.AfterFunc(time.Second, func() { a.log.Warn("waiting", "for", what) }) // a try may take longer
	defer slow.Stop()
	for told := false; ; told = true {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := f(try)
		cancel()
		if err == nil {
			return nil
		}
		for _, e := range final {
			if errors.Is(err, e) {
				return err
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !told {
			slow.Stop()
			a.log.Warn("waiting", "for", what, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}
