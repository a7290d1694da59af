package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"text/tabwriter"
)

type readyCmd struct{}

// readiness is what /readyz says.
type readiness struct {
	Status   string            `json:"status"`              // ok or degraded
	NotReady map[string]string `json:"not_ready,omitempty"` // what is degraded, and why
}

// Run asks a running Tidegate what an orchestrator asks. The image has no other program
// that could.
func (*readyCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := a.get(e.ctx, "/readyz", nil, &answer); err != nil {
		return err
	}
	var r readiness
	if json.Unmarshal(answer, &r) != nil { // a process without the role ingest answers with a line
		r = readiness{Status: string(answer)}
	}
	return e.printAny(r, func(w *tabwriter.Writer) error {
		row(w, "status", r.Status)
		for _, name := range slices.Sorted(maps.Keys(r.NotReady)) {
			row(w, name, r.NotReady[name])
		}
		return nil
	})
}
