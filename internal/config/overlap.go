package config

import (
	"fmt"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// Overlaps returns a sentence for each pair of gates whose triggers fit a common
// request: which of the two decides, and why.
func (c *Config) Overlaps() []string {
	cat := c.Catalog()
	gates := cat.Announced()
	var out []string
	for _, o := range gate.Overlaps(gates) {
		decides, other := gates[o.Decides].Feature, gates[o.Other].Feature
		why := "it is more specific"
		if o.Same {
			why = "both are equally specific, and it stands first"
		}
		out = append(out, fmt.Sprintf("gates %s (%s) and %s (%s) overlap: where both fit, %s alone decides and counts, as %s",
			quote(decides), words(o.By), quote(other), words(o.Over), quote(decides), why))
	}
	return out
}

// words returns a trigger as people write it.
func words(t events.Trigger) string { return strings.TrimSpace(t.Method + " " + t.Endpoint) }
