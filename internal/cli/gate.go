package cli

import (
	"encoding/json"
	"net/url"
	"text/tabwriter"
)

type gateOffCmd struct {
	Feature string `arg:"" help:"Feature of the gate."`
}

type gateOnCmd struct {
	Feature string `arg:"" help:"Feature of the gate."`
}

func (c *gateOffCmd) Run(e *env) error { return switchGate(e, c.Feature, true) }
func (c *gateOnCmd) Run(e *env) error  { return switchGate(e, c.Feature, false) }

func switchGate(e *env, feature string, off bool) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	body, _ := json.Marshal(map[string]bool{"off": off}) // cannot fail
	var raw json.RawMessage
	if err := a.do(e.ctx, "PUT", "/v1/gates/"+url.PathEscape(feature), "application/json", body, &raw); err != nil {
		return err
	}
	return e.print(raw, func(w *tabwriter.Writer) error {
		state := "enforced"
		if off {
			state = "off: everybody is allowed"
		}
		row(w, feature, state)
		return nil
	})
}
