package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
)

type devCmd struct {
	listenFlags
	NATS      string `name:"nats" help:"Address of the embedded NATS server; port -1 picks a free one." default:"127.0.0.1:4222" env:"TIDEGATE_NATS" placeholder:"HOST:PORT"`
	NATSToken string `name:"nats-token" help:"Token that the embedded NATS server asks for; needed to listen beyond this machine." env:"NATS_TOKEN" placeholder:"TOKEN"`
	Data      string `help:"Where everything is kept." default:"./.tidegate" env:"TIDEGATE_DATA" placeholder:"DIR"`
}

// devState is what the running dev leaves for `dev upgrade` and others.
type devState struct {
	HTTP      string `json:"http"`
	NATS      string `json:"nats"`
	NATSToken string `json:"nats_token,omitempty"`
	PID       int    `json:"pid"`
}

const devStateFile = "dev.json"

func (c *devCmd) Run(e *env) error {
	set := app.Settings{HTTP: c.HTTP, Public: c.Public, TLSCert: c.Cert, TLSKey: c.Key, Roles: app.AllRoles(), Config: e.Config, EmbeddedNATS: c.NATS, NATSToken: c.NATSToken, Data: c.Data, Build: e.build}
	if c.NATSToken == "" {
		var err error
		if set.NATSToken, err = environ.Lookup("NATS_TOKEN"); err != nil {
			return err
		}
	}
	if err := set.FromEnvironment(); err != nil {
		return err
	}
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return err
	}
	a, err := app.Start(e.ctx, set, cfg, c.logger(e))
	if err != nil && e.ctx.Err() != nil {
		return nil // stopped while it waited
	}
	if err != nil {
		return err
	}
	defer stop(a)
	state := devState{HTTP: a.URL(), NATS: a.NATS(), NATSToken: a.Settings().NATSToken, PID: os.Getpid()}
	if err := writeState(c.Data, state); err != nil {
		return err
	}
	if a.WaitReady(e.ctx) != nil {
		return nil // stopped while it waited
	}
	c.welcome(e, a, cfg)
	<-e.ctx.Done()
	_, _ = fmt.Fprintln(e.stdout, "stopping: what was accepted is kept in", c.Data)
	return nil
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

func (c *devCmd) welcome(e *env, a *app.App, cfg *config.Config) {
	var b strings.Builder
	set := a.Settings()
	source := e.Config
	if _, err := os.Stat(e.Config); err != nil {
		source = "the built-in example (`tidegate init` writes a file)"
	}
	store := "embedded, in " + c.Data
	if set.MongoURI != "" {
		store = "MongoDB"
	}
	mails := filepath.Join(c.Data, "outbox")
	if set.ResendKey != "" {
		mails = "sent through Resend"
	}
	fmt.Fprintf(&b, "Tidegate is running.\n\n")
	for _, line := range [][2]string{
		{"HTTP and web page", a.URL()}, {"NATS", natsLine(a)}, {"Store", store}, {"Configuration", source},
		{"Mails", mails}, {"Stripe webhooks", a.URL() + "/webhooks/stripe"}, {"Webhook secret", set.StripeSecrets[0]},
	} {
		fmt.Fprintf(&b, "  %-18s %s\n", line[0], line[1])
	}
	if set.Public != "" {
		fmt.Fprintf(&b, "  %-18s %s\n", "Public", a.PublicURL())
	}
	key := ""
	if !set.Keys.Empty() {
		key = ` -H "Authorization: Bearer $TIDEGATE_API_KEY"`
	}
	feature, event := firstGate(cfg)
	fmt.Fprintf(&b, "\nSend a use, and ask:\n\n  curl -X POST %s/v1/events%s -H 'Content-Type: application/json' -d '{\"type\":\"%s\",\"subject\":\"acme\"}'\n", a.URL(), key, event)
	fmt.Fprintf(&b, "  curl%s '%s/v1/check?customer=acme&feature=%s'\n\n", key, a.URL(), feature)
	_, _ = e.stdout.Write([]byte(b.String()))
}

// natsLine says where apps find NATS, and with what.
func natsLine(a *app.App) string {
	if a.Settings().NATSToken == "" {
		return a.NATS()
	}
	return a.NATS() + " (apps: NATS_TOKEN, as here)"
}

func firstGate(c *config.Config) (feature, event string) {
	if len(c.Gates) == 0 {
		return "api", "api"
	}
	return c.Gates[0].Feature, c.Gates[0].Meter.Event
}
