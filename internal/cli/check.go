package cli

import (
	"encoding/json"
	"net/url"
	"text/tabwriter"

	"github.com/tidegate-io/tidegate/events"
)

type checkCmd struct {
	Customer string `arg:"" help:"Customer id."`
	Feature  string `arg:"" help:"Feature of a gate."`
}

func (c *checkCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := a.get(e.ctx, "/v1/check", url.Values{"customer": {c.Customer}, "feature": {c.Feature}}, &raw); err != nil {
		return err
	}
	var d events.Decision
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	err = e.print(raw, func(w *tabwriter.Writer) error {
		row(w, "CUSTOMER", "FEATURE", "ALLOWED", "REASON", "PLAN", "USED", "LIMIT", "WINDOW ENDS", "UNBLOCKS")
		row(w, d.Customer, d.Feature, d.Allowed, string(d.Reason), d.Plan, known(d.Used), d.Limit, d.WindowEnd, d.UnblocksAt)
		return nil
	})
	if err == nil && !d.Allowed {
		return blockedError{}
	}
	return err
}

func known(v events.NullValue) string {
	if !v.Valid {
		return "?"
	}
	return v.Value.String()
}
