package ingest

import (
	"net/http"
	"strings"

	"github.com/tidegate-io/tidegate/internal/gate"
)

const (
	authPath   = "/v1/auth"
	behindAuth = authPath + "/{rest...}"
)

// original is a visitor's request as the gateway describes it.
type original struct{ method, target, customer string }

// options returns whether the gateway wants the use recorded, and refusals answered
// with 403. Behind /v1/auth/ the query is the visitor's, so only a header counts
// there.
func options(r *http.Request) (record, as403 bool) {
	record = r.Header.Get("X-Tidegate-Record") == "1"
	if r.URL.Path == authPath {
		q := r.URL.Query()
		record, as403 = record || q.Get("record") == "1", q.Get("deny") == "403"
	}
	return record, as403
}

// isBehindAuth reports whether a visitor's path stands behind /v1/auth.
func isBehindAuth(r *http.Request) bool {
	return strings.HasPrefix(gate.PathOf(r.RequestURI), authPath+"/")
}

// readOriginal reads what the gateway says about the visitor's request: method and
// target behind /v1/auth (Envoy), or in headers (nginx, Traefik). A visitor can send
// the same headers, and a gateway may pass them on. So two sources must agree; else
// the request is refused, as one of them is the visitor's word.
func readOriginal(r *http.Request) (original, error) {
	for _, name := range []string{"X-Customer-Id", "X-Tidegate-Key", "X-Tidegate-Record"} {
		if len(r.Header[name]) > 1 {
			return original{}, badRequest("the header %s is there twice: the gateway must set it, and pass on none that a visitor sends", name)
		}
	}
	method, target := "", ""
	if isBehindAuth(r) {
		method, target = r.Method, strings.TrimPrefix(gate.PathOf(r.RequestURI), authPath)
	} else if r.URL.Path != authPath {
		return original{}, badRequest("write the address as %s, without escapes", authPath)
	}
	method, ok := agreed(r, method, strings.ToUpper, "X-Forwarded-Method", "X-Original-Method")
	if !ok {
		return original{}, contradiction("method")
	}
	target, ok = agreed(r, target, gate.PathOf, "X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url")
	if !ok {
		return original{}, contradiction("path")
	}
	if method == "" {
		method = r.Method
	}
	if strings.ContainsAny(method, " ,;") { // values that a proxy has joined
		return original{}, badRequest("the method %.40q is none: the gateway must set X-Original-Method or X-Forwarded-Method itself", method)
	}
	return original{method: method, target: target, customer: r.Header.Get("X-Customer-Id")}, nil
}

// agreed returns what all headers of these names say, "" where there are none; ok is
// false if they differ in what is compared, among themselves or from what is said
// already.
func agreed(r *http.Request, said string, compared func(string) string, names ...string) (value string, ok bool) {
	for _, name := range names {
		for _, v := range r.Header[name] {
			switch {
			case v == "" || said == v:
			case said == "":
				said = v
			case compared(said) != compared(v):
				return "", false
			}
		}
	}
	return said, true
}

func contradiction(what string) error {
	return badRequest("the request names its %s twice, differently: the gateway must set X-Original-* or X-Forwarded-*"+
		" or the path behind %s, and pass on no such header that a visitor sends", what, authPath)
}
