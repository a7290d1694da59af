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
}

// kind says who is meant to ask.
type kind int

const (
	private kind = iota
	public       // strangers: what they ask is signed
	health       // machines that watch; nothing bounds them
)

func (s *Server) publicRoutes() []route {
	return []route{
		{"POST", "/webhooks/stripe", "", s.bounded(s.stripeWebhook), public},
		{"POST", "/webhooks/resend", "", s.bounded(s.resendWebhook), public},
		{"GET", "/u/{token}", "", s.click, public},
		{"GET", "/unsubscribe/{token}", "", s.unsubscribePage, public},
		{"POST", "/unsubscribe/{token}", "", s.unsubscribe, public},
	}
}

func (s *Server) privateRoutes() []route {
	return []route{
		{"POST", "/v1/events", ScopeEvents, s.postEvents, private},
		{"GET", "/v1/check", ScopeRead, s.check, private},
		{"GET", "/v1/decisions", ScopeRead, s.decisions, private},
		{"GET", "/v1/gates", ScopeRead, s.gates, private},
		{"PUT", "/v1/gates/{feature}", ScopeAdmin, s.putGate, private},
		{"GET", "/v1/customers", ScopeRead, s.listCustomers, private},
		{"POST", "/v1/customers", ScopeEvents, s.postCustomers, private},
		{"GET", "/v1/customers/{id}", ScopeRead, s.getCustomer, private},
		{"PUT", "/v1/customers/{id}", ScopeEvents, s.putCustomer, private},
		{"GET", "/v1/customers/{id}/data", ScopeAdmin, s.getPersonal, private},
		{"DELETE", "/v1/customers/{id}", ScopeAdmin, s.deleteCustomer, private},
		{"GET", "/v1/audit", ScopeAdmin, s.getAudit, private},
		{"", authPath, ScopeRead, s.auth, private},
		{"", behindAuth, ScopeRead, s.auth, private},
		{"GET", "/v1/stripe/unmapped", ScopeRead, s.unmapped, private},
		{"GET", "/v1/funnel", ScopeRead, s.funnel, private},
		{"GET", "/v1/explain", ScopeRead, s.explain, private},
		{"POST", "/v1/adjust", ScopeAdmin, notYet, private},
		{"POST", "/v1/void", ScopeAdmin, notYet, private},
		{"GET", "/livez", "", s.livez, health},
		{"GET", "/readyz", "", s.readyz, health},
		{"GET", "/metrics", "", s.metrics, health},
		{"GET", "/{$}", "", page("page/index.html", "text/html; charset=utf-8"), private},
		{"GET", "/page/app.js", "", page("page/app.js", "text/javascript; charset=utf-8"), private},
		{"GET", "/page/style.css", "", page("page/style.css", "text/css; charset=utf-8"), private},
	}
}

// Handler returns the handler of all routes.
func (s *Server) Handler() http.Handler {
	mux := s.mux(append(s.privateRoutes(), s.publicRoutes()...), private)
	auth := s.wrap(route{path: behindAuth, scope: ScopeRead, do: s.auth, kind: private})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isBehindAuth(r) { // the mux would redirect what a visitor did not write cleanly
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
		mux.Handle(path, s.wrap(route{path: path, do: wrongMethod(strings.Fields(m.method)), kind: m.kind}))
	}
	mux.Handle("/", s.wrap(route{path: "unknown", kind: unknown, do: func(http.ResponseWriter, *http.Request) error {
		return &problem{Status: http.StatusNotFound, Detail: "there is nothing at this address"}
	}}))
	return mux
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
