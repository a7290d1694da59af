// Package app is a Tidegate that runs: its connections, roles and HTTP listeners.
// Start brings all of it up and Stop takes it down.
//
// The zero value of Settings is a complete Tidegate for development and tests: a
// NATS server in this process on a free port, all roles, an HTTP API on a free
// port, and data in a temporary folder that Stop removes.
//
//	t, err := app.Dev(ctx, "") // the built-in example: feature api, free 100 in 30 days
//	defer t.Stop(ctx)
//	nc, err := nats.Connect(t.NATS())
package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/notifier"
)

// App is a running Tidegate. Its methods are safe for concurrent use.
type App struct {
	set Settings
	log *slog.Logger
	now func() time.Time

	config  atomic.Pointer[config.Config]
	catalog atomic.Pointer[gate.Catalog]
	keys    atomic.Pointer[ingest.Keys]

	nc         *nats.Conn
	js         jetstream.JetStream
	decisions  jetstream.KeyValue
	holder     string // names this process in leases
	names      events.Names
	partitions int
	store      store
	audit      *audit.Log
	supervisor *stream.Supervisor
	cache      *client.Client
	metrics    *metrics.Set
	billing    atomic.Pointer[fold.Processor] // nil unless it runs here
	notifier   atomic.Pointer[notifier.Processor]

	handler     atomic.Pointer[http.Handler] // nil while starting
	public      atomic.Pointer[http.Handler]
	probe       atomic.Pointer[http.Handler]
	reconfigure []func(*config.Config)
	checks      []func(*config.Config) error // of an edited configuration, before it is taken over

	embedded bool // NATS runs in this process
	started  atomic.Bool

	stopping  sync.Mutex // held while Stop runs
	closers   []closer   // the last is the first to be stopped
	listeners []closer   // bound first, but stopped before what they need
}

// closer is a step of stopping.
type closer struct {
	name string
	f    func(context.Context) error
}

func (a *App) onStop(name string, f func(context.Context) error) {
	a.closers = append(a.closers, closer{name, f})
}

// Start brings everything up that set asks for. It waits for a NATS that is away
// until ctx is done, for MongoDB only a moment; meanwhile the HTTP listener
// answers that it is starting. A nil cfg is config.Example(), a nil log discards.
// When Start fails it has stopped what it started.
func Start(ctx context.Context, set Settings, cfg *config.Config, log *slog.Logger) (*App, error) {
	if cfg == nil {
		cfg = config.Example()
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &App{set: set.withDefaults(), log: log, now: time.Now, embedded: set.NATS == "", names: events.Names{Namespace: cfg.Namespace},
		holder: holder(), metrics: metrics.NewSet()}
	a.setConfig(cfg)
	a.keys.Store(&a.set.Keys)
	if err := a.run(ctx); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTime)
		defer cancel()
		a.Stop(stop)
		return nil, err
	}
	return a, nil
}

// Dev starts a complete Tidegate with a configuration in YAML, "" being the
// built-in example, and waits until it is ready.
func Dev(ctx context.Context, yaml string) (*App, error) {
	cfg := config.Example()
	if yaml != "" {
		var err error
		if cfg, err = config.Parse([]byte(yaml), os.LookupEnv); err != nil {
			return nil, err
		}
	}
	a, err := Start(ctx, Settings{}, cfg, nil)
	if err != nil {
		return nil, err
	}
	if err := a.WaitReady(ctx); err != nil {
		a.Stop(context.WithoutCancel(ctx))
		return nil, err
	}
	return a, nil
}

func (a *App) setConfig(c *config.Config) {
	a.config.Store(c)
	cat := c.Catalog()
	a.catalog.Store(&cat)
	for _, f := range a.reconfigure {
		f(c)
	}
}

// check returns what is wrong with a configuration for what runs here.
func (a *App) check(c *config.Config) error {
	for _, f := range a.checks {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) run(ctx context.Context) error {
	if a.embedded {
		if err := a.embed(); err != nil {
			return err
		}
	}
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
	a.metrics.RegisterMetricsWriter(a.writeBuild)
	a.metrics.RegisterMetricsWriter(a.writeProgress)
	if err := a.startRoles(ctx); err != nil {
		return err
	}
	a.started.Store(true)
	if a.set.has(RoleIngest) {
		if err := a.startIngest(); err != nil {
			return err
		}
	}
	a.startAudit(ctx)
	if a.set.Config != "" {
		a.followConfig(ctx)
	}
	if a.set.has(RoleIngest) {
		a.warnOfKeys()
		if err := a.set.checkSecrets(); err != nil {
			a.log.Warn("secret_weak", "error", err)
		}
	}
	if a.set.KeysFile != "" {
		a.followKeys(ctx)
	}
	return nil
}

func holder() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), nuid.Next()[:8])
}

// StopTime is how long stopping may take before what is not committed is left to
// be read again.
const StopTime = 5 * time.Second

// Stop stops everything within ctx, the last started first, and returns when it
// has stopped. To call it again does nothing; a call beside another one waits for
// it. What does not stop cleanly is logged.
func (a *App) Stop(ctx context.Context) {
	a.stopping.Lock()
	defer a.stopping.Unlock()
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

// WaitReady returns once every partition is owned and, with the role ingest,
// decisions are known; or the error of ctx.
func (a *App) WaitReady(ctx context.Context) error {
	for {
		err := a.supervisor.Owning()
		if err == nil && (a.cache == nil || a.cache.Ready()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Settings returns the settings with everything that Start filled in: addresses
// as they are bound, the URL of NATS, the folder of data, secrets.
func (a *App) Settings() Settings { return a.set }

// URL returns the address of the HTTP API, such as http://127.0.0.1:8080; ""
// without the role ingest.
func (a *App) URL() string {
	if a.set.HTTP == "" {
		return ""
	}
	return a.scheme() + a.set.HTTP
}

// PublicURL returns the address of the listener for webhooks and links; "" without
// one.
func (a *App) PublicURL() string {
	if a.set.Public == "" {
		return ""
	}
	return a.scheme() + a.set.Public
}

func (a *App) scheme() string {
	if a.set.TLSCert != "" {
		return "https://"
	}
	return "http://"
}

// NATS returns the URL that apps connect to.
func (a *App) NATS() string { return a.set.NATS }

// Partitions returns how many partitions customers are spread over.
func (a *App) Partitions() int { return a.partitions }
