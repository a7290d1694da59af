// Package sample has what tests of a whole Tidegate have in common: a small
// configuration and usage events.
package sample

import (
	"fmt"
	"strings"
)

// Config is a configuration with a limit that is soon reached: feature api, free 10
// in 30 days.
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

// Event is a usage event of the api as an app writes it.
func Event(customer, id string) string {
	return fmt.Sprintf(`{"type":"api","subject":%q,"source":"test","id":%q}`, customer, id)
}

// Events are n events with ids prefix-1 to prefix-n.
func Events(customer, prefix string, n int) []string {
	es := make([]string, n)
	for i := range es {
		es[i] = Event(customer, fmt.Sprintf("%s-%d", prefix, i+1))
	}
	return es
}

// Array writes events as a JSON array.
func Array(es []string) string { return "[" + strings.Join(es, ",") + "]" }

// Lines writes events as NDJSON.
func Lines(es []string) string { return strings.Join(es, "\n") + "\n" }
