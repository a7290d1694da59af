package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/store/mongo"
	"github.com/tidegate-io/tidegate/internal/stream"
	stripeapi "github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/refetch"
)

type doctorCmd struct {
	natsFlags
}

// finding is one check's outcome.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warning, failed, skipped
	Detail string `json:"detail"`
}

const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFailed  = "failed"
	stateSkipped = "skipped"
)

func (c *doctorCmd) Run(e *env) error {
	checks := []struct {
		name string
		f    func(*env, context.Context) (string, string)
	}{
		{"configuration", c.configuration}, {"tidegate", c.running}, {"nats", c.nats}, {"partitions", c.owners}, {"lag", c.lag}, {"documents", c.documents},
		{"mongodb", c.mongodb}, {"stripe", c.stripe}, {"resend", c.resend}, {"mail", c.mail}, {"billing", c.billing},
	}
	findings := []finding{}
	failed := 0
	for _, check := range checks {
		ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
		state, detail := check.f(e, ctx)
		cancel()
		if state == stateFailed {
			failed++
		}
		findings = append(findings, finding{check.name, state, detail})
	}
	err := e.printAny(findings, func(w *tabwriter.Writer) error {
		for _, f := range findings {
			row(w, f.Check, f.State, f.Detail)
		}
		return nil
	})
	if err == nil && failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(findings))
	}
	return err
}

func (c *doctorCmd) configuration(e *env, _ context.Context) (string, string) {
	cfg, err := readConfig(e.Config)
	var wrong *config.Errors
	switch {
	case errors.As(err, &wrong):
		return stateFailed, err.Error()
	case errors.Is(err, os.ErrNotExist) && e.Config == config.DefaultFile:
		return stateWarning, e.Config + " is not there: `dev` uses the built-in example, `serve` needs one (`tidegate init`)"
	case err != nil:
		return stateFailed, err.Error()
	}
	return stateOK, fmt.Sprintf("%s: %d plans, %d gates", e.Config, len(cfg.Plans), len(cfg.Gates))
}

func (c *doctorCmd) running(_ *env, ctx context.Context) (string, string) {
	a, err := connectAPI()
	if err != nil {
		return stateFailed, err.Error()
	}
	var answer struct {
		NotReady map[string]string `json:"not_ready"`
	}
	if err := a.get(ctx, "/readyz", nil, &answer); err != nil {
		return stateFailed, err.Error()
	}
	if len(answer.NotReady) == 0 {
		return stateOK, a.base + " is ready"
	}
	detail := a.base + " works, but"
	for _, what := range slices.Sorted(maps.Keys(answer.NotReady)) {
		detail += " " + what + ": " + answer.NotReady[what] + ";"
	}
	return stateWarning, strings.TrimSuffix(detail, ";")
}

func (c *doctorCmd) nats(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateFailed, err.Error()
	}
	defer l.close()
	info, err := l.js.AccountInfo(ctx)
	if err != nil {
		return stateFailed, fmt.Sprintf("JetStream does not answer: %v: enable it (nats-server -js); a cluster that has lost a node needs some seconds", err)
	}
	usage, err := l.js.Stream(ctx, l.names.Stream(events.StreamUsage))
	if err != nil {
		return stateFailed, err.Error()
	}
	if state, detail := judgeUsage(usage.CachedInfo()); state != stateOK {
		return state, detail
	}
	return stateOK, fmt.Sprintf("%s %s, %d partitions, %d streams, %.1f MB stored",
		l.nc.ConnectedUrlRedacted(), l.nc.ConnectedServerVersion(), l.partitions, info.Streams, float64(info.Store)/1e6)
}

// judgeUsage says whether a stream of usage that is bounded has room left.
func judgeUsage(info *jetstream.StreamInfo) (string, string) {
	name, of, most := info.Config.Name, info.State.Bytes, uint64(max(0, info.Config.MaxBytes))
	remedy := fmt.Sprintf("give it more than its %d bytes (nats stream edit %s --max-bytes), or wait until old events expire", most, name)
	switch {
	case most == 0 || of <= most/10*9:
		return stateOK, ""
	case of+events.MaxEventBytes > most:
		return stateFailed, fmt.Sprintf("stream %s is full, usage is refused with 503: %s", name, remedy)
	}
	return stateWarning, fmt.Sprintf("stream %s will be full soon, and then refuses usage: %s", name, remedy)
}

func (c *doctorCmd) mongodb(_ *env, ctx context.Context) (string, string) {
	uri, err := lookup("MONGODB_URI")
	if err != nil {
		return stateFailed, err.Error()
	}
	if uri == "" {
		return stateSkipped, "MONGODB_URI is not set: `dev` keeps documents in its embedded store"
	}
	db, err := lookup("MONGODB_DATABASE")
	if err != nil {
		return stateFailed, err.Error()
	}
	s, err := mongo.Open(ctx, uri, db, mongo.Options{Timeout: 5 * time.Second})
	if err != nil {
		return stateFailed, err.Error()
	}
	_ = s.Close(ctx)
	return stateOK, "reachable"
}

func (c *doctorCmd) stripe(e *env, ctx context.Context) (string, string) {
	hook, err := lookup("STRIPE_WEBHOOK_SECRET")
	if err != nil {
		return stateFailed, err.Error()
	}
	key, err := lookup("STRIPE_SECRET_KEY")
	if err != nil {
		return stateFailed, err.Error()
	}
	if key == "" {
		set := settings{Config: e.Config, Dev: true}
		if cfg, err := set.loadConfig(); err == nil && (cfg.Upgrade.Price != "" || cfg.Upgrade.Portal) {
			return stateWarning, "upgrade.price or upgrade.portal is set, but STRIPE_SECRET_KEY is not: links in mails lead to upgrade.url"
		}
		if hook == "" {
			return stateSkipped, "neither STRIPE_WEBHOOK_SECRET nor STRIPE_SECRET_KEY is set: `serve` refuses webhooks"
		}
		return stateOK, "webhook secret set; STRIPE_SECRET_KEY is not, so nothing is asked of Stripe"
	}
	base, err := lookup("STRIPE_API_BASE")
	if err != nil {
		return stateFailed, err.Error()
	}
	remote, err := stripeapi.New(stripeapi.Options{Key: key, Base: base})
	if err != nil {
		return stateFailed, err.Error()
	}
	if err := remote.Probe(ctx); err != nil {
		return stateFailed, err.Error()
	}
	return c.refetch(e, ctx)
}

// refetch says how asking Stripe goes.
func (c *doctorCmd) refetch(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateOK, "the key is accepted"
	}
	defer l.close()
	s, err := refetch.StatusQuestion.Ask(ctx, l.asker(), 0, stream.None{})
	if err != nil {
		return stateWarning, "the key is accepted, but no process with the role enforcer has it: set STRIPE_SECRET_KEY there, too"
	}
	if s.Error != "" {
		return stateWarning, fmt.Sprintf("the key is accepted here, but the enforcer says: %s", s.Error)
	}
	detail := fmt.Sprintf("the key is accepted; %d objects are to be fetched", s.Pending)
	if !s.Reconciled.IsZero() {
		detail += ", events are compared up to " + s.Reconciled.UTC().Format("2006-01-02 15:04")
	}
	return stateOK, detail
}

func (c *doctorCmd) resend(_ *env, ctx context.Context) (string, string) {
	key, err := lookup("RESEND_API_KEY")
	if err != nil {
		return stateFailed, err.Error()
	}
	if key == "" {
		return stateSkipped, "RESEND_API_KEY is not set: mails are written to files"
	}
	base := os.Getenv("RESEND_BASE_URL")
	if base == "" {
		base = "https://api.resend.com"
	}
	return probe(ctx, strings.TrimSuffix(base, "/")+"/domains", key)
}

// probe asks an API whether it takes the key.
func probe(ctx context.Context, url, key string) (string, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return stateFailed, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return stateFailed, fmt.Sprintf("no answer: %v", errors.Unwrap(err))
	}
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return stateFailed, fmt.Sprintf("the key is refused (%s)", resp.Status)
	case resp.StatusCode >= 300:
		return stateWarning, "answered " + resp.Status
	}
	return stateOK, "the key is accepted"
}
