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
	public       bool // for strangers: what it is asked is signed, or says nothing
}

func (s *Server) publicRoutes() []route {
	return []route{
		{"POST", "/webhooks/stripe", "", s.bounded(s.stripeWebhook), true},
		{"POST", "/webhooks/resend", "", s.bounded(s.resendWebhook), true},
		{"GET", "/u/{token}", "", s.click, true},
		{"GET", "/unsubscribe/{token}", "", s.unsubscribePage, true},
		{"POST", "/unsubscribe/{token}", "", s.unsubscribe, true},
	}
}

func (s *Server) privateRoutes() []route {
	return []route{
		{"POST", "/v1/events", ScopeEvents, s.postEvents, false},
		{"GET", "/v1/check", ScopeRead, s.check, false},
		{"GET", "/v1/decisions", ScopeRead, s.decisions, false},
		{"GET", "/v1/gates", ScopeRead, s.gates, false},
		{"PUT", "/v1/gates/{feature}", ScopeAdmin, s.putGate, false},
		{"GET", "/v1/customers", ScopeRead, s.listCustomers, false},
		{"POST", "/v1/customers", ScopeEvents, s.postCustomers, false},
		{"GET", "/v1/customers/{id}", ScopeRead, s.getCustomer, false},
		{"PUT", "/v1/customers/{id}", ScopeEvents, s.putCustomer, false},
		{"DELETE", "/v1/customers/{id}", ScopeAdmin, s.deleteCustomer, false},
		{"", "/v1/auth", ScopeRead, s.auth, false},
		{"", "/v1/auth/{rest...}", ScopeRead, s.auth, false},
		{"GET", "/v1/stripe/unmapped", ScopeRead, s.unmapped, false},
		{"GET", "/v1/funnel", ScopeRead, s.funnel, false},
		{"GET", "/v1/explain", ScopeRead, s.explain, false},
		{"POST", "/v1/adjust", ScopeAdmin, notYet, false},
		{"POST", "/v1/void", ScopeAdmin, notYet, false},
		{"GET", "/livez", "", s.livez, false},
		{"GET", "/readyz", "", s.readyz, false},
		{"GET", "/metrics", "", s.metrics, false},
		{"GET", "/{$}", "", page("page/index.html", "text/html; charset=utf-8"), false},
		{"GET", "/page/app.js", "", page("page/app.js", "text/javascript; charset=utf-8"), false},
		{"GET", "/page/style.css", "", page("page/style.css", "text/css; charset=utf-8"), false},
	}
}

// Handler returns the handler of all routes.
func (s *Server) Handler() http.Handler {
	return s.mux(append(s.privateRoutes(), s.publicRoutes()...), false)
}

// PublicHandler returns the handler of the routes that must be reachable from the
// internet:
// /webhooks, /u and /unsubscribe.
func (s *Server) PublicHandler() http.Handler { return s.mux(s.publicRoutes(), true) }

// mux routes requests. public says what addresses are that no route has.
func (s *Server) mux(routes []route, public bool) http.Handler {
	mux := http.NewServeMux()
	methods := map[string]route{}
	for _, r := range routes {
		if r.method != "" {
			m := methods[r.path]
			m.method, m.public = m.method+" "+r.method, r.public
			methods[r.path] = m
		}
		mux.Handle(strings.TrimSpace(r.method+" "+r.path), s.wrap(r))
	}
	for path, m := range methods {
		mux.Handle(path, s.wrap(route{path: path, do: wrongMethod(strings.Fields(m.method)), public: m.public}))
	}
	mux.Handle("/", s.wrap(route{path: "unknown", public: public, do: func(http.ResponseWriter, *http.Request) error {
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
