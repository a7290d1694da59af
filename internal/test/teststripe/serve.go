package teststripe

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stored is the answer to a request with an idempotency key.
type stored struct {
	asked  string
	status int
	body   []byte
}

// refusal is an error in Stripe's form.
type refusal struct {
	status           int
	typ, code, param string
	message          string
}

func refuse(status int, code, param, format string, args ...any) *refusal {
	return &refusal{status: status, typ: "invalid_request_error", code: code, param: param, message: fmt.Sprintf(format, args...)}
}

// ServeHTTP implements the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	params, err := paramsOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.unavailable(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status, body := s.answer(r, params)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", s.now().Format(http.TimeFormat))
	w.Header().Set("Request-Id", fmt.Sprintf("req_%06d", len(s.requests)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, Params: params, Header: r.Header.Clone(), Status: status})
}

// unavailable simulates outages.
func (s *Server) unavailable(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	hang, down := s.hang, s.down
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return true
		}
	}
	if down {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close()
		}
	}
	return down
}

func paramsOf(r *http.Request) (url.Values, error) {
	if r.Method == http.MethodGet {
		return r.URL.Query(), nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(body))
}

// answer checks the key, and simulates faults and idempotency.
func (s *Server) answer(r *http.Request, params url.Values) (int, []byte) {
	if r.Header.Get("Authorization") != "Bearer "+s.Key {
		return (&refusal{status: 401, typ: "invalid_request_error",
			message: "Invalid API Key provided: " + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}).write()
	}
	second := time.Now().Unix()
	s.spent[second]++
	if s.perSecond > 0 && s.spent[second] > s.perSecond {
		return (&refusal{status: 429, typ: "invalid_request_error", code: "rate_limit", message: "Request rate limit exceeded."}).write()
	}
	if len(s.fails) > 0 {
		status := s.fails[0]
		s.fails = s.fails[1:]
		return (&refusal{status: status, typ: "api_error", message: "It was told to fail."}).write()
	}
	key, asked := r.Header.Get("Idempotency-Key"), r.Method+" "+r.URL.Path+" "+params.Encode()
	if before, again := s.answered[key]; again && key != "" {
		if before.asked != asked {
			return (&refusal{status: 400, typ: "idempotency_error", message: "Keys for idempotent requests can only be used with the same parameters they were first used with."}).write()
		}
		return before.status, before.body
	}
	o, refused := s.route(r.Method, strings.TrimPrefix(r.URL.Path, "/v1/"), params)
	if refused != nil {
		return refused.write()
	}
	body, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	if key != "" {
		s.answered[key] = stored{asked, 200, body}
	}
	return 200, body
}

func (f *refusal) write() (int, []byte) {
	e := map[string]any{"type": f.typ, "message": f.message}
	if f.code != "" {
		e["code"] = f.code
	}
	if f.param != "" {
		e["param"] = f.param
	}
	body, _ := json.Marshal(map[string]any{"error": e}) // never fails for strings
	return f.status, body
}

// lists holds the types of the collections by path.
var lists = map[string]string{
	"subscriptions": "subscription", "customers": "customer", "invoices": "invoice", "prices": "price", "products": "product",
	"charges": "charge", "events": "event", "checkout/sessions": "checkout.session", "webhook_endpoints": "webhook_endpoint",
}

func (s *Server) route(method, path string, params url.Values) (any, *refusal) {
	if method == http.MethodPost {
		switch {
		case path == "checkout/sessions":
			return s.newSession(params)
		case path == "billing_portal/sessions":
			return s.newPortal(params)
		case path == "webhook_endpoints":
			return s.putEndpoint("", params)
		case strings.HasPrefix(path, "webhook_endpoints/"):
			return s.putEndpoint(strings.TrimPrefix(path, "webhook_endpoints/"), params)
		}
	}
	if typ := lists[path]; method == http.MethodGet && typ != "" {
		return s.list("/v1/"+path, typ, params)
	}
	if i := strings.LastIndexByte(path, '/'); method == http.MethodGet && i > 0 && lists[path[:i]] != "" {
		id, err := url.PathUnescape(path[i+1:])
		if o := s.objects[id]; err == nil && o["object"] == lists[path[:i]] {
			return public(o), nil
		}
		return nil, refuse(404, "resource_missing", "id", "No such %s: '%s'", lists[path[:i]], id)
	}
	return nil, refuse(404, "", "", "Unrecognized request URL (%s: /v1/%s).", method, path)
}

func (s *Server) list(path, typ string, params url.Values) (any, *refusal) {
	limit, err := strconv.Atoi(params.Get("limit"))
	if err != nil || limit < 1 || limit > 100 {
		limit = 10
	}
	all := s.newest(typ)
	if after := params.Get("starting_after"); after != "" {
		i := slices.IndexFunc(all, func(o Object) bool { return o["id"] == after })
		if i < 0 {
			return nil, refuse(400, "resource_missing", "starting_after", "No such %s: '%s'", typ, after)
		}
		all = all[i+1:]
	}
	all = slices.DeleteFunc(slices.Clone(all), func(o Object) bool { return !listed(o, params) })
	more := len(all) > limit
	if more {
		all = all[:limit]
	}
	data := []Object{}
	for _, o := range all {
		data = append(data, public(o))
	}
	return Object{"object": "list", "url": path, "has_more": more, "data": data}, nil
}

// listed reports whether an object matches the filters of a list.
func listed(o Object, params url.Values) bool {
	if o["deleted"] == true {
		return false
	}
	if o["object"] == "subscription" && o["status"] == "canceled" && params.Get("status") != "all" {
		return false
	}
	if v := params["types[]"]; len(v) > 0 && !slices.Contains(v, o["type"].(string)) {
		return false
	}
	if v := params["lookup_keys[]"]; len(v) > 0 {
		if key, _ := o["lookup_key"].(string); !slices.Contains(v, key) {
			return false
		}
	}
	if v := params.Get("active"); v != "" && o["active"] != (v == "true") {
		return false
	}
	if v, err := strconv.ParseFloat(params.Get("created[gte]"), 64); err == nil && o["created"].(float64) < v {
		return false
	}
	return true
}

// public returns an object without its secret.
func public(o Object) Object {
	c := clone(o)
	delete(c, "secret")
	return c
}
