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
}

func (s *Server) publicRoutes() []route {
	return []route{
		{"POST", "/webhooks/stripe", "", s.bounded(s.stripeWebhook)},
		{"POST", "/webhooks/resend", "", s.bounded(s.resendWebhook)},
		{"GET", "/u/{token}", "", s.click},
		{"GET", "/unsubscribe/{token}", "", s.unsubscribePage},
		{"POST", "/unsubscribe/{token}", "", s.unsubscribe},
	}
}

func (s *Server) privateRoutes() []route {
	return []route{
		{"POST", "/v1/events", ScopeEvents, s.postEvents},
		{"GET", "/v1/check", ScopeRead, s.check},
		{"GET", "/v1/decisions", ScopeRead, s.decisions},
		{"GET", "/v1/gates", ScopeRead, s.gates},
		{"PUT", "/v1/gates/{feature}", ScopeAdmin, s.putGate},
		{"GET", "/v1/customers", ScopeRead, s.listCustomers},
		{"POST", "/v1/customers", ScopeEvents, s.postCustomers},
		{"GET", "/v1/customers/{id}", ScopeRead, s.getCustomer},
		{"PUT", "/v1/customers/{id}", ScopeEvents, s.putCustomer},
		{"GET", "/v1/customers/{id}/data", ScopeAdmin, s.getPersonal},
		{"DELETE", "/v1/customers/{id}", ScopeAdmin, s.deleteCustomer},
		{"GET", "/v1/audit", ScopeAdmin, s.getAudit},
		{"", authPath, ScopeRead, s.auth},
		{"", behindAuth, ScopeRead, s.auth},
		{"GET", "/v1/stripe/unmapped", ScopeRead, s.unmapped},
		{"GET", "/v1/funnel", ScopeRead, s.funnel},
		{"GET", "/v1/explain", ScopeRead, s.explain},
		{"POST", "/v1/adjust", ScopeAdmin, notYet},
		{"POST", "/v1/void", ScopeAdmin, notYet},
		{"GET", "/livez", "", s.livez},
		{"GET", "/readyz", "", s.readyz},
		{"GET", "/metrics", "", s.metrics},
		{"GET", "/{$}", "", page("page/index.html", "text/html; charset=utf-8")},
		{"GET", "/page/app.js", "", page("page/app.js", "text/javascript; charset=utf-8")},
		{"GET", "/page/style.css", "", page("page/style.css", "text/css; charset=utf-8")},
	}
}

// Handler returns the handler of all routes.
func (s *Server) Handler() http.Handler {
	mux := s.mux(append(s.privateRoutes(), s.publicRoutes()...))
	auth := s.wrap(route{path: behindAuth, scope: ScopeRead, do: s.auth})
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
func (s *Server) PublicHandler() http.Handler { return s.mux(s.publicRoutes()) }

func (s *Server) mux(routes []route) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range routes {
		if r.method != "" {
			methods[r.path] = append(methods[r.path], r.method)
		}
		mux.Handle(strings.TrimSpace(r.method+" "+r.path), s.wrap(r))
	}
	for path, allowed := range methods {
		mux.Handle(path, s.wrap(route{path: path, do: wrongMethod(allowed)}))
	}
	mux.Handle("/", s.wrap(route{path: "unknown", do: func(http.ResponseWriter, *http.Request) error {
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
