package config

import (
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"

	"go.yaml.in/yaml/v3"
)

var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE"}

// neverTriggers says why a method can't be a trigger's.
var neverTriggers = map[string]string{
	"HEAD":    "HEAD counts as GET: write GET",
	"OPTIONS": "OPTIONS is never gated, as browsers send it before the request that counts",
}

// triggers reads one trigger or a list of them.
func triggers(g *Gate, f field) {
	items := []field{f}
	if !f.given() || f.null() {
		return
	}
	if f.node.Kind == yaml.SequenceNode {
		if items = f.list(); len(f.node.Content) == 0 {
			f.fail("is an empty list: give the gated requests, such as [{endpoint: /api/features/*}], or leave the key out")
		}
	}
	for _, item := range items {
		if t := trigger(item); t.Endpoint != "" {
			g.Triggers = append(g.Triggers, t)
		}
	}
}

func trigger(f field) events.Trigger {
	var t events.Trigger
	o := f.object("gates[].trigger")
	o.get("type").oneOf("api")
	t.IgnoreCase = o.get("ignore_case").boolean()
	endpoint, method := o.get("endpoint"), o.get("method")
	if !endpoint.given() {
		endpoint.fail("is missing: give the path of the gated requests, such as /api/features/*")
	}
	if v, ok := endpoint.name("a path such as /api/features/*", 1024); ok {
		if err := gate.ParseEndpoint(v); err != nil {
			endpoint.fail("%v", err)
		} else {
			t.Endpoint = v
		}
	}
	v, ok := method.text("an HTTP method")
	switch why := neverTriggers[v]; {
	case !ok:
	case why != "":
		method.fail("%s", why)
	case slices.Contains(methods, v):
		t.Method = v
	case slices.Contains(methods, strings.ToUpper(v)):
		method.fail("%s must be upper-case: %s", quote(v), strings.ToUpper(v))
	default:
		method.fail("%s is none of %s; leave it out for any method", quote(v), strings.Join(methods, ", "))
	}
	return t
}
