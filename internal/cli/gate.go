package cli

import (
	"encoding/json"
	"net/url"
	"text/tabwriter"
)

type switchFlags struct {
	Feature string `arg:"" help:"Feature of the gate."`
	Reason  string `help:"Why, for the audit log."`
}

type gateOffCmd struct {
	switchFlags
	Until string `help:"When it limits again by itself, such as 2026-01-31T12:00:00Z." placeholder:"TIME"`
}

type gateOnCmd struct{ switchFlags }

func (c *gateOffCmd) Run(e *env) error { return c.set(e, true, c.Until) }
func (c *gateOnCmd) Run(e *env) error  { return c.set(e, false, "") }

func (c *switchFlags) set(e *env, off bool, until string) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	change := map[string]any{"off": off}
	if c.Reason != "" {
		change["reason"] = c.Reason
	}
	if until != "" {
		change["until"] = until
	}
	body, _ := json.Marshal(change) // cannot fail
	var raw json.RawMessage
	if err := a.do(e.ctx, "PUT", "/v1/gates/"+url.PathEscape(c.Feature), "application/json", body, &raw); err != nil {
		return err
	}
	return e.print(raw, func(w *tabwriter.Writer) error {
		state := "enforced"
		if off {
			state = "off: everybody is allowed"
			if until != "" {
				state += " until " + until
			}
		}
		row(w, c.Feature, state)
		return nil
	})
}
