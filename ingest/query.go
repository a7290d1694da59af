package ingest

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// query lists the parameters that a route takes: a name, or name=value where only that
// value means something. The handler checks the other values.
type query []string

// anyQuery is that of routes which do not read it and must not refuse one. Mail programs
// and those who measure mailings add their own to links, and senders of webhooks may;
// behind /v1/auth it is the visitor's.
var anyQuery = query{"*"}

// check returns an error for a query that cannot be read, or has a parameter that the
// route does not know, or one twice. To pass over it would answer another question.
func (known query) check(raw string) error {
	if raw == "" || slices.Equal(known, anyQuery) {
		return nil
	}
	asked, err := url.ParseQuery(raw)
	if err != nil {
		return badRequest("the query cannot be read: separate parameters by & and percent-encode their values")
	}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		switch values := asked[name]; {
		case len(values) > 1:
			return badRequest("`%.40s` stands twice in the query", name)
		case slices.Contains(known, name), slices.Contains(known, name+"="+values[0]):
		case len(known) == 0:
			return badRequest("`%.40s` is no parameter: this address takes none", name)
		default:
			return badRequest("`%.40s=%.40s` is no parameter of this address: use %s", name, values[0], strings.Join(known, ", "))
		}
	}
	return nil
}
