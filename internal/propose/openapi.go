package propose

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// route is an operation that changes something.
type route struct {
	path, method, summary string
}

// OpenAPI proposes a gate for each group of POST, PUT and PATCH routes in an
// OpenAPI document (JSON or YAML, as FastAPI serves it at /openapi.json).
func OpenAPI(document []byte) (*Proposal, error) {
	routes, err := routesOf(document)
	if err != nil {
		return nil, err
	}
	p := &Proposal{Plans: freemium}
	groups := map[group][]route{}
	for _, r := range routes {
		if why := lockout(r); why != "" {
			p.LeftOut = append(p.LeftOut, r.method+" "+r.path+" ("+why+")")
			continue
		}
		g := groupOf(r)
		groups[g] = append(groups[g], r)
	}
	if len(groups) == 0 {
		return nil, errors.New("the document has no POST, PUT or PATCH route that a gate could be proposed for: write the gates by hand, `tidegate init` shows how")
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
		p.Gates = append(p.Gates, g.gate(groups[g], names[g.name] > 1, taken))
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
			routes = append(routes, route{path: path, method: method, summary: operation.Summary})
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
	for _, word := range words.FindAllString(static(r.path), -1) {
		if why := lockouts[strings.ToLower(word)]; why != "" {
			return why
		}
	}
	return ""
}

// static is a path before its first parameter.
func static(path string) string {
	if i := strings.IndexByte(path, '{'); i >= 0 {
		path = path[:i]
	}
	return path
}

// group is what routes share that one gate counts together.
type group struct{ prefix, name, method string }

// groupOf goes by the first part of the path that says something.
func groupOf(r route) group {
	prefix, name := "", ""
	for _, part := range strings.Split(strings.Trim(static(r.path), "/"), "/") {
		if part == "" {
			break
		}
		prefix, name = prefix+"/"+part, part
		if lower := strings.ToLower(part); lower != "api" && lower != "rest" && !version.MatchString(lower) {
			break
		}
	}
	name = strings.Trim(noLetter.ReplaceAllString(strings.TrimSuffix(name, "*"), "_"), "_")
	return group{prefix: prefix, name: cmp.Or(name, "root"), method: r.method}
}

func (g group) gate(routes []route, shared bool, taken map[string]bool) Gate {
	out := Gate{Feature: g.name, Template: "upgrade_prompt"}
	t := Trigger{Endpoint: g.prefix + "/*", Method: g.method}
	if shared && g.method != "POST" {
		out.Feature += "_" + strings.ToLower(g.method)
	}
	for base, n := out.Feature, 2; taken[out.Feature]; n++ {
		out.Feature = fmt.Sprintf("%s_%d", base, n)
	}
	taken[out.Feature] = true
	for _, r := range routes {
		if strings.TrimSuffix(r.path, "/") == g.prefix {
			t.Endpoint = g.prefix + "*" // the part itself and what is below
		}
		out.Comments = append(out.Comments, strings.TrimSpace(r.method+" "+r.path+"  "+r.summary))
	}
	if only := routes[0].path; len(routes) == 1 && !strings.Contains(only, "{") {
		t.Endpoint = only
	}
	out.Triggers = []Trigger{t}
	return out
}
