package propose

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/internal/gate"
)

var (
	methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE"}
	request = regexp.MustCompile(`^(?:([A-Za-z*|]+):?\s+)?((?:https?://|/)\S*)$`)
	host    = regexp.MustCompile(`^https?://[^/]+`)
	part    = regexp.MustCompile(`/(?::([A-Za-z_]\w*)\??|\[(?:\.\.\.)?([A-Za-z_]\w*)\]|(\*\*+))(/|$)`)
)

// trigger reads the requests, or the event, that use the feature.
func (r *reader) trigger(d *draft, list []*node) {
	for _, t := range list {
		switch {
		case t.fields != nil:
			r.triggerObject(d, t)
		case !t.scalar():
			r.note(t.line, "`trigger` is %s, not written out, and is left out", t.shown())
		default:
			r.triggerText(d, t)
		}
	}
}

// triggerText reads 'POST /api/features/*', a path, or the name of an event.
func (r *reader) triggerText(d *draft, t *node) {
	m := request.FindStringSubmatch(strings.TrimSpace(t.string()))
	if m == nil {
		r.event(d, t.line, t.string())
		return
	}
	d.kind = "api"
	r.add(d, []string{r.endpoint(t, m[2])}, r.methods([]*node{{line: t.line, text: m[1]}}))
}

func (r *reader) triggerObject(d *draft, t *node) {
	d.kind = r.text(t, "type", "kind")
	var endpoints []string
	for _, path := range t.take("endpoint", "path", "route", "url", "endpoints", "paths").list() {
		if path.scalar() {
			endpoints = append(endpoints, r.endpoint(path, path.string()))
		} else {
			r.note(path.line, "`endpoint` is %s, not written out, and is left out", path.shown())
		}
	}
	r.add(d, endpoints, r.methods(t.take("method", "methods").list()))
	r.event(d, t.line, r.text(t, "event", "event_name", "name"))
	switch d.kind {
	case "", "api", "http", "request", "route", "event", "usage":
	default:
		if d.Event == "" {
			r.note(t.line, "a trigger of type %s is none of Tidegate's: usage is counted by the event", d.kind)
		}
	}
	r.leftOver("trigger.", t)
}

// event takes the name of the usage event. A gate counts one.
func (r *reader) event(d *draft, line int, name string) {
	switch {
	case d.Event == "":
		d.Event = name
	case name != "" && name != d.Event:
		r.note(line, "a gate counts one event, here %s: %s is left out", d.Event, name)
	}
}

// add adds a trigger for each endpoint and each method. No method is any.
func (r *reader) add(d *draft, endpoints, methods []string) {
	if len(methods) == 0 {
		methods = []string{""}
	}
	for _, endpoint := range endpoints {
		for _, method := range methods {
			t := Trigger{Endpoint: endpoint, Method: method}
			if endpoint != "" && !slices.Contains(d.Triggers, t) {
				d.Triggers = append(d.Triggers, t)
			}
		}
	}
}

// endpoint returns a path as Tidegate writes it, "" if it can't.
func (r *reader) endpoint(at *node, path string) string {
	was := path
	path = host.ReplaceAllString(strings.TrimSpace(path), "")
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	for range 2 { // twice, for neighbours share a slash
		path = part.ReplaceAllStringFunc(path, func(s string) string {
			m := part.FindStringSubmatch(s)
			if m[3] != "" {
				return "/*" + m[4]
			}
			return "/{" + m[1] + m[2] + "}" + m[4]
		})
	}
	if err := gate.ParseEndpoint(path); err != nil {
		r.note(at.line, "the endpoint %s is left out: %v", was, err)
		return ""
	}
	if path != was && strings.TrimSuffix(was, "*") != path {
		r.note(at.line, "the endpoint %s is written as %s", was, path)
	}
	return path
}

// methods reads the methods of a trigger. None is any.
func (r *reader) methods(list []*node) []string {
	var all []string
	for _, n := range list {
		if !n.scalar() {
			r.note(n.line, "`method` is %s, not written out, and is left out", n.shown())
		}
		for _, m := range strings.FieldsFunc(strings.ToUpper(n.string()), func(c rune) bool { return strings.ContainsRune("|, /", c) }) {
			switch {
			case m == "*" || m == "ANY" || m == "ALL":
				return nil
			case m == "HEAD":
				m = "GET" // which HEAD counts as
			case m == "OPTIONS":
				r.note(n.line, "OPTIONS is never gated, and is left out")
				continue
			case !slices.Contains(methods, m):
				r.note(n.line, "%s is not a method of HTTP and is left out", m)
				continue
			}
			if !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
	}
	return all
}
