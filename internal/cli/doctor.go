package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/store/mongo"
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
		{"configuration", c.configuration}, {"keys", c.keys}, {"tidegate", c.running}, {"certificate", c.certificate}, {"nats", c.nats}, {"partitions", c.owners}, {"logs", c.logs}, {"lag", c.lag},
		{"documents", c.documents}, {"dead", c.dead},
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
		findings = append(findings, finding{check.name, state, environ.Redact(detail)})
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
	cfg, err := config.Open(e.Config)
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

func (c *doctorCmd) mongodb(_ *env, ctx context.Context) (string, string) {
	uri, err := environ.Lookup("MONGODB_URI")
	if err != nil {
		return stateFailed, err.Error()
	}
	if uri == "" {
		return stateSkipped, "MONGODB_URI is not set: `dev` keeps documents in its embedded store"
	}
	db, err := environ.Lookup("MONGODB_DATABASE")
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
