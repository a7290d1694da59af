package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tidegate-io/tidegate/internal/config"
)

type devCmd struct {
	listenFlags
	NATS string `name:"nats" help:"Address of the embedded NATS server; port -1 picks a free one." default:"127.0.0.1:4222" env:"TIDEGATE_NATS" placeholder:"HOST:PORT"`
	Data string `help:"Where everything is kept." default:"./.tidegate" env:"TIDEGATE_DATA" placeholder:"DIR"`
}

// devState is what the running dev leaves for `dev upgrade` and others.
type devState struct {
	HTTP string `json:"http"`
	NATS string `json:"nats"`
	PID  int    `json:"pid"`
}

const devStateFile = "dev.json"

func (c *devCmd) Run(e *env) error {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	set := settings{HTTP: c.HTTP, Public: c.Public, Roles: allRoles, Config: e.Config, Dev: true, Data: c.Data}
	if err := set.fromEnvironment(); err != nil {
		return err
	}
	if err := set.devSecrets(); err != nil {
		return err
	}
	cfg, err := set.loadConfig()
	if err != nil {
		return err
	}
	release, err := hold(c.Data)
	if errors.Is(err, errHeld) {
		return fmt.Errorf("--data %s: another `tidegate dev` uses it: stop that one, or choose another folder with --data", c.Data)
	}
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	defer release()
	srv, err := embeddedNATS(c.NATS, c.Data)
	if err != nil {
		return err
	}
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	set.NATS = srv.ClientURL()
	// Usage gets half of the space, so that a disk full of it still takes the
	// commits that say how far it was read.
	set.UsageBytes = srv.JetStreamConfig().MaxStore / 2
	a, err := start(e.ctx, set, cfg, c.logger(e))
	if err != nil && e.ctx.Err() != nil {
		return nil // stopped while it waited
	}
	if err != nil {
		return err
	}
	defer a.stopIn(stopTime)
	state := devState{HTTP: "http://" + a.HTTPAddr, NATS: set.NATS, PID: os.Getpid()}
	if err := writeState(c.Data, state); err != nil {
		return err
	}
	if err := a.waitReady(e.ctx); err != nil {
		return err
	}
	c.welcome(e, a, state)
	a.followConfig(e.ctx)
	<-e.ctx.Done()
	_, _ = fmt.Fprintln(e.stdout, "stopping: what was accepted is kept in", c.Data)
	return nil
}

// devSecrets makes the secrets that the environment does not give.
func (s *settings) devSecrets() error {
	if len(s.StripeSecrets) == 0 {
		v, err := keep(s.Data, "stripe_webhook_secret", "whsec_dev_")
		if err != nil {
			return err
		}
		s.StripeSecrets = []string{v}
	} else if err := os.WriteFile(filepath.Join(s.Data, "stripe_webhook_secret"), []byte(s.StripeSecrets[0]+"\n"), 0o600); err != nil {
		return err
	}
	if len(s.Secret) == 0 {
		v, err := keep(s.Data, "secret", "")
		if err != nil {
			return err
		}
		s.Secret = []byte(v)
	}
	return nil
}

// embeddedNATS starts a JetStream server that apps can connect to.
func embeddedNATS(addr, data string) (*server.Server, error) {
	host, portText, err := net.SplitHostPort(addr)
	port, perr := strconv.Atoi(portText)
	if err != nil || perr != nil {
		return nil, usageError{fmt.Errorf("--nats %q is not HOST:PORT", addr)}
	}
	if port > 0 { // the server itself would only log it
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("--nats %s: %w: choose another address with --nats HOST:PORT (port -1 picks a free one)", addr, errors.Unwrap(err))
		}
		_ = l.Close()
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "tidegate-dev", Host: host, Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(data, "nats"),
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded NATS did not start: is another `tidegate dev` using %s?", data)
	}
	return srv, nil
}

func writeState(data string, s devState) error {
	b, _ := json.Marshal(s) // cannot fail: plain fields
	path := filepath.Join(data, devStateFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path) // whoever reads it finds all of it
}

func readState(data string) (s devState, err error) {
	b, err := os.ReadFile(filepath.Join(data, devStateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("no `tidegate dev` has run with --data %s", data)
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// waitReady returns once every partition is owned and decisions are known.
func (a *app) waitReady(ctx context.Context) error {
	for {
		err := a.supervisor.Owning()
		if err == nil && a.cache.Ready() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *devCmd) welcome(e *env, a *app, s devState) {
	var b strings.Builder
	cfg := a.config.Load()
	source := e.Config
	if _, err := os.Stat(e.Config); err != nil {
		source = "the built-in example (`tidegate init` writes a file)"
	}
	store := "embedded, in " + c.Data
	if a.set.MongoURI != "" {
		store = "MongoDB"
	}
	mails := filepath.Join(c.Data, "outbox")
	if a.set.ResendKey != "" {
		mails = "sent through Resend"
	}
	fmt.Fprintf(&b, "Tidegate is running.\n\n")
	for _, line := range [][2]string{
		{"HTTP and web page", s.HTTP}, {"NATS", s.NATS}, {"Store", store}, {"Configuration", source},
		{"Mails", mails}, {"Stripe webhooks", s.HTTP + "/webhooks/stripe"}, {"Webhook secret", a.set.StripeSecrets[0]},
	} {
		fmt.Fprintf(&b, "  %-18s %s\n", line[0], line[1])
	}
	if a.set.Public != "" {
		fmt.Fprintf(&b, "  %-18s http://%s\n", "Public", a.PublicAddr)
	}
	key := ""
	if !a.set.Keys.Empty() {
		key = ` -H "Authorization: Bearer $TIDEGATE_API_KEY"`
	}
	feature, event := firstGate(cfg)
	fmt.Fprintf(&b, "\nSend a use, and ask:\n\n  curl -X POST %s/v1/events%s -H 'Content-Type: application/json' -d '{\"type\":\"%s\",\"subject\":\"acme\"}'\n", s.HTTP, key, event)
	fmt.Fprintf(&b, "  curl%s '%s/v1/check?customer=acme&feature=%s'\n\n", key, s.HTTP, feature)
	_, _ = e.stdout.Write([]byte(b.String()))
}

func firstGate(c *config.Config) (feature, event string) {
	if len(c.Gates) == 0 {
		return "api", "api"
	}
	return c.Gates[0].Feature, c.Gates[0].Meter.Event
}
