package cli

import (
	"context"
	"log/slog"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/misuse"
)

// listenFlags are common to dev and serve.
type listenFlags struct {
	HTTP   string `help:"Address of the HTTP API and web page." default:"127.0.0.1:8080" env:"TIDEGATE_HTTP" placeholder:"HOST:PORT"`
	Public string `help:"Second address with only /webhooks, /u and /unsubscribe." env:"TIDEGATE_PUBLIC" placeholder:"HOST:PORT"`
	Cert   string `name:"tls-cert" help:"File with the certificate of both addresses, and its chain, in PEM: they speak HTTPS. A file that changes is read again." env:"TIDEGATE_TLS_CERT" placeholder:"FILE"`
	Key    string `name:"tls-key" help:"File with the key of the certificate, in PEM." env:"TIDEGATE_TLS_KEY" placeholder:"FILE"`
	Log    string `help:"What is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"TIDEGATE_LOG"`
}

type serveCmd struct {
	listenFlags
	Probes     string   `help:"Address with only /livez, /readyz and /metrics, for a process without the role ingest." env:"TIDEGATE_PROBES" placeholder:"HOST:PORT"`
	Roles      []string `help:"Roles of this process." default:"ingest,aggregator,enforcer,notifier" env:"TIDEGATE_ROLES"`
	Data       string   `help:"Where mails are written when RESEND_API_KEY is not set." default:"./.tidegate" env:"TIDEGATE_DATA" placeholder:"DIR"`
	NATS       string   `name:"nats" help:"URL of NATS." env:"NATS_URL" placeholder:"URL"`
	Replicas   int      `help:"Replicas of streams that are made." default:"1" env:"TIDEGATE_REPLICAS"`
	UsageBytes int64    `help:"Space for usage, in bytes, when its stream is made; a full one refuses (0: unlimited)." default:"0" env:"TIDEGATE_USAGE_BYTES"`
	Store      string   `help:"Where documents are kept: mongodb, or nats (key-value buckets, for small installations)." enum:"mongodb,nats" default:"mongodb" env:"TIDEGATE_STORE"`
	MongoBulk  int      `help:"Documents that one write command holds at most (0: what suits the server)." default:"0" env:"TIDEGATE_MONGODB_BULK"`
	Snapshot   int      `name:"snapshot-bytes" help:"How much a partition's log grows at least before it is summed up (0: 1 MiB)." default:"0" env:"TIDEGATE_SNAPSHOT_BYTES"`
}

func (c *serveCmd) Run(e *env) error {
	set := app.Settings{Probes: c.Probes, Data: c.Data, HTTP: c.HTTP, Public: c.Public, TLSCert: c.Cert, TLSKey: c.Key, Roles: c.Roles, Config: e.Config, Replicas: c.Replicas, UsageBytes: c.UsageBytes, MongoBulk: c.MongoBulk, SnapshotBytes: c.Snapshot, Build: e.build}
	how, err := natsConnection(c.NATS)
	if err != nil {
		return err
	}
	set.NATS, set.NATSOptions = how.URL, how.Options
	if set.NATS == "" {
		return misuse.Errorf("NATS_URL is not set: it names the NATS servers, such as nats://127.0.0.1:4222")
	}
	if err := set.FromEnvironment(); err != nil {
		return err
	}
	switch {
	case c.Store == "nats":
		set.MongoURI = ""
	case set.MongoURI == "":
		return misuse.Errorf("MONGODB_URI is not set: it names the database, such as mongodb://127.0.0.1:27017")
	}
	cfg, err := config.Open(e.Config)
	if err != nil {
		return err
	}
	log := c.logger(e)
	for _, w := range how.Warnings {
		log.Warn("nats_secret_is_readable", "what", w)
	}
	a, err := app.Start(e.ctx, set, cfg, log)
	if err != nil && e.ctx.Err() != nil {
		return nil // stopped while it waited
	}
	if err != nil {
		return err
	}
	log.Info("serving", "roles", set.Roles, "http", a.Settings().HTTP, "partitions", a.Partitions())
	<-e.ctx.Done()
	stop(a)
	return nil
}

func stop(a *app.App) {
	ctx, cancel := context.WithTimeout(context.Background(), app.StopTime)
	defer cancel()
	a.Stop(ctx)
}

func (f *listenFlags) logger(e *env) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.Log)) // kong has checked it
	redact := func(_ []string, a slog.Attr) slog.Attr {
		switch v := a.Value.Any().(type) {
		case string:
			a.Value = slog.StringValue(environ.Redact(v))
		case error:
			a.Value = slog.StringValue(environ.Redact(v.Error()))
		}
		return a
	}
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: redact}))
}
