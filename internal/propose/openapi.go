package propose

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"

	"go.yaml.in/yaml/v3"
)

// route is an operation that changes something.
type route struct {
	path, method, summary string
	endpoint              string // the path as a trigger has it
}

// OpenAPI proposes a gate for each group of POST, PUT and PATCH routes in an
// OpenAPI document (JSON or YAML, as FastAPI serves it at /openapi.json). No trigger
// fits a route that is left out.
func OpenAPI(document []byte) (*Proposal, error) {
	routes, err := routesOf(document)
	if err != nil {
		return nil, err
	}
	p := &Proposal{Plans: freemium}
	kept := p.leaveOut(routes)
	if len(kept) == 0 {
		return nil, errors.New("the document has no POST, PUT or PATCH route that a gate could be proposed for: write the gates by hand, `tidegate init` shows how")
	}
	groups := map[group][]route{}
	for _, r := range kept {
		g := groupOf(r)
		groups[g] = append(groups[g], r)
	}
	names := map[string]int{}
	for g := range groups {
		names[g.name]++
	}
	keys := make([]group, 0, len(groups))
	for g := range groups {
		keys = append(keys, g)
	}
	slices.SortFunc(keys, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.prefix, b.prefix), cmp.Compare(methodOrder(a.method), methodOrder(b.method)))
	})
	taken := map[string]bool{}
	for _, g := range keys {
		p.Gates = append(p.Gates, g.gate(groups[g], routes, names[g.name] > 1, taken))
	}
	return p, nil
}

func methodOrder(m string) int { return slices.Index([]string{"POST", "PUT", "PATCH"}, m) }

func routesOf(document []byte) ([]route, error) {
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Swagger string                                `json:"swagger"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if json.Unmarshal(document, &doc) != nil {
		var any map[string]any
		if yaml.Unmarshal(document, &any) != nil {
			return nil, errors.New("this is no OpenAPI document, neither JSON nor YAML; FastAPI serves it at /openapi.json")
		}
		converted, err := json.Marshal(any)
		if err == nil {
			err = json.Unmarshal(converted, &doc)
		}
		if err != nil {
			return nil, fmt.Errorf("this is no OpenAPI document: %w", err)
		}
	}
	if doc.OpenAPI == "" && doc.Swagger == "" {
		return nil, errors.New("this is no OpenAPI document: it has neither `openapi` nor `swagger`; FastAPI serves it at /openapi.json")
	}
	var routes []route
	for path, operations := range doc.Paths {
		for method, raw := range operations {
			method = strings.ToUpper(method)
			if methodOrder(method) < 0 || !strings.HasPrefix(path, "/") {
				continue
			}
			var operation struct {
				Summary string `json:"summary"`
			}
			_ = json.Unmarshal(raw, &operation) // only a comment is made of it
			routes = append(routes, route{path: path, method: method, summary: operation.Summary, endpoint: endpointOf(path)})
		}
	}
	slices.SortFunc(routes, func(a, b route) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(methodOrder(a.method), methodOrder(b.method)))
	})
	return routes, nil
}

var (
	version  = regexp.MustCompile(`^v\d+$`)
	noLetter = regexp.MustCompile(`[^A-Za-z0-9_-]+`)
	words    = regexp.MustCompile(`[A-Za-z0-9]+`)
)

// lockouts are words in a path whose routes must work for a blocked customer.
var lockouts = map[string]string{
	"login": "signing in", "logout": "signing in", "signin": "signing in", "signup": "signing up", "register": "signing up",
	"auth": "signing in", "oauth": "signing in", "oauth2": "signing in", "token": "signing in", "password": "signing in",
	"refresh": "signing in", "session": "signing in", "sessions": "signing in", "sso": "signing in", "saml": "signing in",
	"verify": "signing up", "invitations": "signing up", "webhook": "machines", "webhooks": "machines", "callback": "machines",
	"health": "machines", "metrics": "machines", "internal": "machines", "admin": "your own staff",
	"billing": "paying", "checkout": "paying", "payment": "paying", "payments": "paying", "stripe": "paying",
	"subscribe": "paying", "upgrade": "paying", "unsubscribe": "leaving",
}

func lockout(r route) string {
	for _, word := range words.FindAllString(parameter.ReplaceAllString(r.path, ""), -1) {
		if why := lockouts[strings.ToLower(word)]; why != "" {
			return why
		}
	}
	return ""
}

// leaveOut returns the routes that can be gated, and names the others with the
// reasons.
func (p *Proposal) leaveOut(routes []route) (kept []route) {
	var left []route
	leave := func(r route, why string) {
		left = append(left, r)
		p.LeftOut = append(p.LeftOut, r.method+" "+r.path+" ("+why+")")
	}
	for _, r := range routes {
		why := lockout(r)
		if err := gate.ParseEndpoint(r.endpoint); why == "" && err != nil {
			why = err.Error()
		}
		if why != "" {
			leave(r, why)
		} else {
			kept = append(kept, r)
		}
	}
	for i := 0; i < len(left); i++ { // which grows
		kept = slices.DeleteFunc(kept, func(r route) bool {
			if r.method != left[i].method || apart(r.endpoint, left[i].endpoint) || !fits(r.endpoint, left[i]) {
				return false
			}
			leave(r, "its gate would also hold "+left[i].path+", which is left out")
			return true
		})
	}
	return kept
}

// apart reports whether two paths begin differently, in plain letters. It spares
// most pairs of routes the comparison by the rule of triggers.
func apart(a, b string) bool {
	a, b = plainly(a), plainly(b)
	return !strings.HasPrefix(a, b) && !strings.HasPrefix(b, a)
}

// plainly returns a path up to what can be read in more than one way.
func plainly(path string) string {
	if i := strings.IndexAny(path, `{%.;\`); i >= 0 {
		path = path[:i]
	}
	path, _, _ = strings.Cut(path, "//")
	return path
}

// fits reports whether a trigger's endpoint fits requests of a route.
func fits(endpoint string, r route) bool {
	routes := gate.NewRoutes([]events.Gate{{Triggers: []events.Trigger{{Endpoint: endpoint}}}})
	met, err := routes.Match(nil, r.method, parameter.ReplaceAllString(r.endpoint, "~"), "")
	return err == nil && len(met) > 0
}

var (
	parameter = regexp.MustCompile(`\{[^{}]*\}`)
	escape    = regexp.MustCompile(`%[0-9A-Fa-f]{2}|[\x00-\x20\x7f%?#*]`)
)

// endpointOf returns the path of a route as a trigger has it: with escapes of what
// can't stand there, and with a parameter for each segment that has one.
func endpointOf(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if names := parameter.FindAllString(s, -1); names != nil {
			segments[i] = "{" + cmp.Or(slug(strings.Join(names, "-")), "any") + "}"
			continue
		}
		segments[i] = escape.ReplaceAllStringFunc(s, func(c string) string {
			if len(c) > 1 {
				return c
			}
			return fmt.Sprintf("%%%02X", c[0])
		})
	}
	return strings.Join(segments, "/")
}

// group is what routes share that one gate counts together.
type group struct{ prefix, name, method string }

// groupOf goes by the first part of the path that says something. The prefix is ""
// if no part does.
func groupOf(r route) group {
	prefix := ""
	for _, part := range strings.Split(strings.Trim(r.endpoint, "/"), "/") {
		prefix += "/" + part
		if lower := strings.ToLower(part); lower == "api" || lower == "rest" || version.MatchString(lower) || part == "*" || parameter.MatchString(part) {
			continue
		}
		if name := slug(strings.TrimSuffix(unescaped(part), "*")); name != "" {
			return group{prefix: prefix, name: name, method: r.method}
		}
	}
	return group{name: "root", method: r.method}
}

// unescaped is a part of a path as people read it.
func unescaped(part string) string {
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}

func (g group) gate(own, all []route, shared bool, taken map[string]bool) Gate {
	out := Gate{Feature: g.name, Template: "upgrade_prompt"}
	if shared && g.method != "POST" {
		out.Feature += "_" + strings.ToLower(g.method)
	}
	out.Feature = free(taken, out.Feature)
	for _, r := range own {
		out.Comments = append(out.Comments, strings.TrimSpace(r.method+" "+r.path+"  "+r.summary))
		if t := (Trigger{Endpoint: r.endpoint, Method: g.method}); !slices.Contains(out.Triggers, t) {
			out.Triggers = append(out.Triggers, t)
		}
	}
	if g.mayTakeRest(own, all) {
		out.Triggers = []Trigger{{Endpoint: g.prefix + "/*", Method: g.method}}
	}
	return out
}

// mayTakeRest reports whether one trigger can stand for the group's routes, and for
// those that it will have: none of any other route may fit it.
func (g group) mayTakeRest(own, all []route) bool {
	if g.prefix == "" || len(own) == 1 && !strings.Contains(own[0].endpoint[len(g.prefix):], "{") {
		return false
	}
	rest := events.Gate{Triggers: []events.Trigger{{Endpoint: g.prefix + "/*"}}}
	for _, r := range all {
		if r.method != g.method || apart(g.prefix, r.endpoint) || slices.Contains(own, r) {
			continue
		}
		other := events.Gate{Triggers: []events.Trigger{{Endpoint: r.endpoint}}}
		if fits(g.prefix+"/*", r) || len(gate.Overlaps([]events.Gate{rest, other})) > 0 {
			return false
		}
	}
	return true
}
