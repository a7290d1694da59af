package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/limit"

	"github.com/tidegate-io/tidegate/internal/audit"
)

// localName names the caller where there are no keys.
const localName = "local"

// reservedNames are actors of the audit log that are no keys.
var reservedNames = []string{localName, audit.ConfigurationActor}

// caller is who sent a request, by its API key.
type caller struct {
	Name   string // of the key; "local" without keys, "" where no key is asked for
	Scopes []Scope

	key *Key // nil: none
}

type callerKey struct{}

// callerOf returns who sent the request. On a route without a scope that is nobody.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(*caller)
	if c == nil {
		return caller{}
	}
	return *c
}

// can reports whether the caller has the scope.
func (c caller) can(scope Scope) bool {
	return slices.Contains(c.Scopes, scope) || scope == ScopeEvents && slices.Contains(c.Scopes, ScopeAdmin)
}

// need returns why the caller may not do what takes the scope.
func (c caller) need(scope Scope) error {
	if c.can(scope) {
		return nil
	}
	return &problem{Status: http.StatusForbidden, Detail: fmt.Sprintf("the API key lacks the scope %q", string(scope))}
}

// still reports whether the caller may do what takes the scope at this moment: keys end,
// and are taken away.
func (s *Server) still(c caller, scope Scope) bool {
	keys := s.Keys()
	if c.key == nil || keys.Empty() {
		return keys.Empty()
	}
	k := keys.same(c.key)
	return k != nil && !k.Ended(s.Now()) && caller{Scopes: k.Scopes}.can(scope)
}

var local = &caller{Name: localName, Scopes: allScopes()}

// authenticate returns the request with its caller, who has the scope of the route.
func (s *Server) authenticate(r *http.Request, rt *route) (*http.Request, error) {
	if rt.scope == "" {
		return r, nil
	}
	c, err := s.identify(r, rt)
	if err != nil {
		return r, err
	}
	if err := c.need(rt.scope); err != nil {
		return r, err
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), nil
}

// identify finds the caller by the request's key.
func (s *Server) identify(r *http.Request, rt *route) (*caller, error) {
	keys := s.Keys()
	if keys.Empty() {
		return local, nil
	}
	secret := secretOf(r, rt)
	if secret == "" {
		return nil, &problem{Status: http.StatusUnauthorized, Detail: "an API key is needed: send the header Authorization: Bearer <key>"}
	}
	k := keys.find(secret)
	if k == nil {
		return nil, s.wrongKey(r, rt)
	}
	if k.Ended(s.Now()) {
		if n := s.ended.count(time.Now()); n > 0 {
			s.Log.Warn("an API key that has ended was refused", slog.String("key", k.Name), slog.String("last_day", k.LastDay()), slog.Uint64("count", n))
		}
		return nil, &problem{Status: http.StatusUnauthorized, Detail: "the API key has ended: ask for a new one"}
	}
	return &caller{Name: k.Name, Scopes: k.Scopes, key: k}, nil
}

// wrongMost is how many wrong keys of one address a minute are only refused. More are told
// to wait. A right key is taken at any time: others may share the address.
const wrongMost = 10

// wrongKey logs a wrong key, without the key, and returns the answer to it.
func (s *Server) wrongKey(r *http.Request, rt *route) error {
	s.counters.wrongKeys.Inc()
	ip := clientAddress(r, s.bounds.of().Proxies)
	if n := s.wrong.count(time.Now()); n > 0 {
		s.Log.Warn("wrong API keys were refused", slog.Uint64("count", n), slog.String("address", ip.String()), slog.String("path", rt.path))
	}
	wait := s.bounds.wrong.Take(s.bounds.since(), ip, limit.Per(wrongMost, time.Minute, time.Minute))
	if wait == 0 {
		return &problem{Status: http.StatusUnauthorized, Detail: "the API key is not known"}
	}
	return &problem{Status: http.StatusTooManyRequests, Retry: int(math.Ceil(max(wait, time.Second).Seconds())),
		Detail: fmt.Sprintf("the API key is not known, and your address has sent more than %d wrong ones in a minute: correct it before you go on", wrongMost)}
}

// secretOf returns the key that the request carries.
func secretOf(r *http.Request, rt *route) string {
	// Behind a gateway, the header Authorization is the visitor's own.
	if own := r.Header.Get("X-Tidegate-Key"); own != "" && strings.HasPrefix(rt.path, "/v1/auth") {
		return own
	}
	kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(kind, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
