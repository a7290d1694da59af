package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/notifier"
)

// app is a running Tidegate: its connections, roles and listeners. What it
// starts it stops in the reverse order.
type app struct {
	set settings
	log *slog.Logger
	now func() time.Time

	config  atomic.Pointer[config.Config]
	catalog atomic.Pointer[gate.Catalog]

	nc         *nats.Conn
	js         jetstream.JetStream
	decisions  jetstream.KeyValue
	holder     string // names this process in leases
	names      events.Names
	partitions int
	store      store
	supervisor *stream.Supervisor
	cache      *client.Client
	metrics    *metrics.Set
	billing    atomic.Pointer[fold.Processor] // nil unless it runs here
	notifier   atomic.Pointer[notifier.Processor]

	handler     atomic.Pointer[http.Handler] // nil while starting
	public      atomic.Pointer[http.Handler]
	probe       atomic.Pointer[http.Handler]
	HTTPAddr    string // as bound
	PublicAddr  string // likewise of --public
	reconfigure []func(*config.Config)
	checks      []func(*config.Config) error // of an edited configuration, before it is taken over

	started   atomic.Bool
	closers   []closer
	listeners []closer // bound first, but stopped before what they need
}

// closer is a step of stopping.
type closer struct {
	name string
	f    func(context.Context) error
}

func (a *app) onStop(name string, f func(context.Context) error) {
	a.closers = append(a.closers, closer{name, f})
}

// start brings everything up. It waits for a NATS that is away until ctx is
// done, for MongoDB only a moment; the HTTP listener answers from the beginning.
func start(ctx context.Context, set settings, cfg *config.Config, log *slog.Logger) (*app, error) {
	a := &app{set: set, log: log, now: time.Now, names: events.Names{Namespace: cfg.Namespace}, holder: holder(), metrics: metrics.NewSet()}
	a.setConfig(cfg)
	if err := a.run(ctx); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		a.Stop(stop)
		return nil, err
	}
	return a, nil
}

func (a *app) setConfig(c *config.Config) {
	a.config.Store(c)
	cat := c.Catalog()
	a.catalog.Store(&cat)
	for _, f := range a.reconfigure {
		f(c)
	}
}

// check says what is wrong with a configuration for what runs here.
func (a *app) check(c *config.Config) error {
	for _, f := range a.checks {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) run(ctx context.Context) error {
	if err := a.listen(); err != nil {
		return err
	}
	if err := a.connect(ctx); err != nil {
		return err
	}
	if err := a.openStore(ctx); err != nil {
		return err
	}
	a.supervisor = stream.NewSupervisor(stream.Env{NC: a.nc, JS: a.js, Names: a.names, Holder: a.holder, Log: a.log, Now: a.now,
		SnapshotAfter: a.set.SnapshotBytes})
	a.metrics.RegisterMetricsWriter(a.writeProgress)
	if err := a.startRoles(ctx); err != nil {
		return err
	}
	a.started.Store(true)
	if a.set.has(roleIngest) {
		return a.startIngest()
	}
	return nil
}

func holder() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), nuid.Next()[:8])
}

// listen binds the addresses first: a busy one must be told before anything
// else is started.
func (a *app) listen() error {
	if a.set.Probes != "" {
		h := a.probes()
		a.probe.Store(&h)
		if _, err := a.serveHTTP("--probes", a.set.Probes, &a.probe); err != nil {
			return err
		}
	}
	if !a.set.has(roleIngest) {
		return nil
	}
	addr, err := a.serveHTTP("--http", a.set.HTTP, &a.handler)
	if err != nil {
		return err
	}
	a.HTTPAddr = addr
	if a.set.Public == "" {
		return nil
	}
	a.PublicAddr, err = a.serveHTTP("--public", a.set.Public, &a.public)
	return err
}

func (a *app) serveHTTP(flag, addr string, h *atomic.Pointer[http.Handler]) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: choose another address with %s HOST:PORT", flag, addr, errors.Unwrap(err), flag)
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ready := h.Load(); ready != nil {
				(*ready).ServeHTTP(w, r)
				return
			}
			starting(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("http_stopped", "address", addr, "error", err)
		}
	}()
	a.listeners = append(a.listeners, closer{"http " + flag, func(ctx context.Context) error {
		if err := srv.Shutdown(ctx); err != nil {
			return errors.Join(err, srv.Close())
		}
		return nil
	}})
	return l.Addr().String(), nil
}

// starting answers while NATS is waited for.
func starting(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/livez" {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"Tidegate is starting and waits for NATS: see its log"}` + "\n"))
}

func (a *app) connect(ctx context.Context) error {
	opts := []nats.Option{
		nats.Name("tidegate"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.RetryOnFailedConnect(true),
		// A machine that loses its power closes no connection: 6 s of silence, not the library's 6 minutes.
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(2 * time.Second),
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
	if a.set.NATSCreds != "" {
		opts = append(opts, nats.UserCredentials(a.set.NATSCreds))
	}
	nc, err := nats.Connect(a.set.NATS, opts...)
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
	cfg := a.config.Load()
	layout := stream.Layout{Names: a.names, Partitions: cfg.Partitions, Replicas: a.set.Replicas,
		UsageAge: cfg.Retention.Usage, Horizon: cfg.Retention.Horizon, UsageBytes: a.set.UsageBytes}
	if layout.Partitions == 0 && a.set.Dev {
		layout.Partitions = a.devPartitions(ctx)
	}
	return a.patiently(ctx, "NATS JetStream", func(ctx context.Context) error {
		if a.partitions, err = stream.Ensure(ctx, a.js, layout); err == nil {
			a.decisions, err = a.js.KeyValue(ctx, a.names.Bucket(events.BucketDecisions))
		}
		return err
	}, stream.ErrPartitions)
}

// devPartitions is 4 for new data, else what the data was made with.
func (a *app) devPartitions(ctx context.Context) int {
	if _, err := a.js.Stream(ctx, a.names.Stream(events.StreamUsage)); err == nil {
		return 0
	}
	return 4
}

// patiently tries until f works, ctx is done, or the error is one that waiting
// does not mend.
func (a *app) patiently(ctx context.Context, what string, f func(context.Context) error, final ...error) error {
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

// Stop stops everything within ctx, the last started first.
func (a *app) Stop(ctx context.Context) {
	a.closers = append(a.closers, a.listeners...) // of a start that failed
	a.listeners = nil
	for len(a.closers) > 0 {
		c := a.closers[len(a.closers)-1]
		a.closers = a.closers[:len(a.closers)-1]
		if err := c.f(ctx); err != nil {
			a.log.Warn("not_stopped_cleanly", "what", c.name, "error", err)
		}
	}
}
