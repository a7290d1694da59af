package ingest

import (
	"net/http"
	"slices"
	"strings"
)

// handler answers a request or returns an error: a *problem becomes the answer,
// any other error a 500.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is a method ("" is any) and a path with what answers it.
type route struct {
	method, path string
	scope        Scope // "" needs no key
	do           handler
	kind         kind
	query        query
}

// kind says who is meant to ask.
type kind int

const (
	private kind = iota
	public       // strangers: what they ask is signed
	health       // machines that watch; nothing bounds them
	gateway      // a gateway, for each visitor of the app; a refusal would be the visitor's
)

func (s *Server) publicRoutes() []route {
	return []route{
		{"POST", "/webhooks/stripe", "", s.bounded(s.stripeWebhook), public, anyQuery},
		{"POST", "/webhooks/resend", "", s.bounded(s.resendWebhook), public, anyQuery},
		{"GET", "/u/{token}", "", s.click, public, anyQuery},
		{"GET", "/unsubscribe/{token}", "", s.unsubscribePage, public, anyQuery},
		{"POST", "/unsubscribe/{token}", "", s.unsubscribe, public, anyQuery},
	}
}

func (s *Server) privateRoutes() []route {
	return []route{
		{"POST", "/v1/events", ScopeEvents, s.postEvents, private, nil},
		{"GET", "/v1/check", ScopeRead, s.check, private, query{"customer", "feature"}},
		{"GET", "/v1/decisions", ScopeRead, s.decisions, private, nil},
		{"GET", "/v1/gates", ScopeRead, s.gates, private, nil},
		{"PUT", "/v1/gates/{feature}", ScopeAdmin, s.putGate, private, nil},
		{"GET", "/v1/customers", ScopeRead, s.listCustomers, private, query{"near", "blocked", "plan", "idle", "limit", "cursor"}},
		{"POST", "/v1/customers", ScopeEvents, s.postCustomers, private, nil},
		{"GET", "/v1/customers/{id}", ScopeRead, s.getCustomer, private, nil},
		{"PUT", "/v1/customers/{id}", ScopeEvents, s.putCustomer, private, nil},
		{"GET", "/v1/customers/{id}/data", ScopeAdmin, s.getPersonal, private, nil},
		{"DELETE", "/v1/customers/{id}", ScopeAdmin, s.deleteCustomer, private, query{"reason"}},
		{"GET", "/v1/audit", ScopeAdmin, s.getAudit, private, query{"customer", "actor", "from", "to", "limit", "cursor"}},
		{"", authPath, ScopeRead, s.auth, gateway, query{"record=1", "deny=403"}},
		{"", behindAuth, ScopeRead, s.auth, gateway, anyQuery},
		{"GET", "/v1/stripe/unmapped", ScopeRead, s.unmapped, private, query{"limit", "cursor"}},
		{"GET", "/v1/funnel", ScopeRead, s.funnel, private, query{"from", "to", "by"}},
		{"GET", "/v1/explain", ScopeRead, s.explain, private, query{"customer", "feature"}},
		{"POST", "/v1/adjust", ScopeAdmin, notYet, private, nil},
		{"POST", "/v1/void", ScopeAdmin, notYet, private, nil},
		{"GET", "/livez", "", s.livez, health, nil},
		{"GET", "/readyz", "", s.readyz, health, nil},
		{"GET", "/metrics", "", s.metrics, health, nil},
		{"GET", "/{$}", "", page("page/index.html", "text/html; charset=utf-8"), private, nil},
		{"GET", "/page/app.js", "", page("page/app.js", "text/javascript; charset=utf-8"), private, nil},
		{"GET", "/page/style.css", "", page("page/style.css", "text/css; charset=utf-8"), private, nil},
	}
}

// Handler returns the handler of all routes.
func (s *Server) Handler() http.Handler {
	mux := s.mux(append(s.privateRoutes(), s.publicRoutes()...), private)
	auth := s.wrap(route{path: behindAuth, scope: ScopeRead, do: s.auth, kind: gateway, query: anyQuery})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isBehindAuth(r) { // the mux would refuse what a visitor did not write cleanly
			auth.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// PublicHandler returns the handler of the routes that must be reachable from the
// internet:
// /webhooks, /u and /unsubscribe.
func (s *Server) PublicHandler() http.Handler { return s.mux(s.publicRoutes(), public) }

// mux routes requests. unknown is the kind of addresses that no route has.
func (s *Server) mux(routes []route, unknown kind) http.Handler {
	mux := http.NewServeMux()
	methods := map[string]route{}
	for _, r := range routes {
		if r.method != "" {
			m := methods[r.path]
			m.method, m.kind = m.method+" "+r.method, r.kind
			methods[r.path] = m
		}
		mux.Handle(strings.TrimSpace(r.method+" "+r.path), s.wrap(r))
	}
	for path, m := range methods {
		mux.Handle(path, s.wrap(route{path: path, do: wrongMethod(strings.Fields(m.method)), kind: m.kind, query: anyQuery}))
	}
	mux.Handle("/", s.wrap(route{path: "unknown", kind: unknown, query: anyQuery, do: func(http.ResponseWriter, *http.Request) error {
		return &problem{Status: http.StatusNotFound, Detail: "there is nothing at this address"}
	}}))
	unclean := s.wrap(route{path: "unclean", kind: unknown, query: anyQuery, do: func(http.ResponseWriter, *http.Request) error {
		return badRequest("the path has `.`, `..` or nothing between two slashes: write it without, an id in it percent-encoded")
	}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !clean(r.URL.EscapedPath()) { // a redirect would be followed to another customer
			unclean.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// clean reports whether the mux takes a path as it is.
func clean(path string) bool {
	segments, rooted := strings.CutPrefix(path, "/")
	if !rooted {
		return false
	}
	segments = strings.TrimSuffix(segments, "/")
	for segment := range strings.SplitSeq(segments, "/") {
		if segment == "." || segment == ".." || segment == "" && segments != "" {
			return false
		}
	}
	return path != "//"
}

func wrongMethod(allowed []string) handler {
	if slices.Contains(allowed, "GET") {
		allowed = append(allowed, "HEAD")
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Allow", list)
		return &problem{Status: http.StatusMethodNotAllowed, Detail: "this address takes " + list}
	}
}

func notYet(http.ResponseWriter, *http.Request) error {
	return &problem{Status: http.StatusNotImplemented, Detail: "corrections over HTTP are not available yet"}
}
