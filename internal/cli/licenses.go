package cli

import (
	"encoding/json"
	"fmt"

	"github.com/tidegate-io/tidegate/internal/licenses"
)

type licensesCmd struct{}

// Run prints what the licences of the linked modules ask to hand on: their texts.
func (*licensesCmd) Run(e *env) error {
	list, err := licenses.Modules()
	if err != nil {
		return err
	}
	if e.Output != "json" {
		return licenses.Print(e.stdout, list)
	}
	texts := map[string]string{}
	for _, m := range list {
		for _, name := range m.Texts {
			if texts[name], err = licenses.Text(name); err != nil {
				return err
			}
		}
	}
	raw, err := json.Marshal(map[string]any{"modules": list, "texts": texts})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", raw)
	return err
}
