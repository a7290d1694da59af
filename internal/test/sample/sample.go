// Package sample has a small configuration and usage events for tests of a whole
// Tidegate.
package sample

import (
	"fmt"
	"strings"
)

// Config is a configuration with a low limit: 10 free uses of the feature api in 30
// days.
const Config = `
upgrade: {url: https://acme.example/pricing}
plans:
  free: {default: true}
  paid: {any_subscription: true}
gates:
  - feature: api
    condition:
      type: usage
      limit: {free: 10, paid: unlimited}
      period: 30d
    action: {type: block}
`

// Event returns the JSON of a usage event of the feature api.
func Event(customer, id string) string {
	return fmt.Sprintf(`{"type":"api","subject":%q,"source":"test","id":%q}`, customer, id)
}

// Events returns n events with ids prefix-1 to prefix-n.
func Events(customer, prefix string, n int) []string {
	es := make([]string, n)
	for i := range es {
		es[i] = Event(customer, fmt.Sprintf("%s-%d", prefix, i+1))
	}
	return es
}

// Array returns events as a JSON array.
func Array(es []string) string { return "[" + strings.Join(es, ",") + "]" }

// Lines returns events as NDJSON.
func Lines(es []string) string { return strings.Join(es, "\n") + "\n" }
