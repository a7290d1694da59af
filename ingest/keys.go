package ingest

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Scope is something that an API key may do.
type Scope string

// The scopes.
const (
	ScopeEvents Scope = "events" // report usage and identify customers
	ScopeRead   Scope = "read"   // ask for decisions, customers and figures
	ScopeAdmin  Scope = "admin"  // set plans and overrides, erase, switch gates
)

// Keys are the accepted API keys. The zero value has none and leaves the API open:
// the caller must then listen on loopback only.
type Keys struct{ keys []apiKey }

type apiKey struct {
	hash   [sha256.Size]byte
	scopes []Scope
}

// ParseKeys reads a comma-separated list of `key` (all scopes) or
// `key:scope+scope`, as in TIDEGATE_API_KEYS. The error never quotes a key.
func ParseKeys(s string) (Keys, error) {
	var ks Keys
	for i, entry := range strings.Split(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		key, list, scoped := strings.Cut(entry, ":")
		if key == "" {
			return Keys{}, fmt.Errorf("API key %d is empty: write key or key:scope+scope", i+1)
		}
		k := apiKey{hash: sha256.Sum256([]byte(key)), scopes: []Scope{ScopeEvents, ScopeRead, ScopeAdmin}}
		if scoped {
			k.scopes = nil
			for _, name := range strings.Split(list, "+") {
				scope := Scope(strings.TrimSpace(name))
				if scope != ScopeEvents && scope != ScopeRead && scope != ScopeAdmin {
					return Keys{}, fmt.Errorf("API key %d has an unknown scope: use events, read or admin", i+1)
				}
				k.scopes = append(k.scopes, scope)
			}
		}
		ks.keys = append(ks.keys, k)
	}
	return ks, nil
}

// Empty reports whether there are no keys and the API is open.
func (ks Keys) Empty() bool { return len(ks.keys) == 0 }

// find compares with every key in constant time. It compares hashes, so that the
// time does not depend on lengths either.
func (ks Keys) find(key string) (apiKey, bool) {
	hash := sha256.Sum256([]byte(key))
	at := -1
	for i := range ks.keys {
		if subtle.ConstantTimeCompare(hash[:], ks.keys[i].hash[:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return apiKey{}, false
	}
	return ks.keys[at], true
}

// allow reports whether the request's key has the scope.
func (s *Server) allow(r *http.Request, scope Scope) error {
	if scope == "" || s.Keys.Empty() {
		return nil
	}
	key := ""
	if kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		key = strings.TrimSpace(token)
	}
	// Behind a gateway, the header Authorization is the visitor's own.
	if own := r.Header.Get("X-Tidegate-Key"); own != "" && strings.HasPrefix(r.URL.Path, "/v1/auth") {
		key = own
	}
	if key == "" {
		return &problem{Status: http.StatusUnauthorized, Detail: "an API key is needed: send the header Authorization: Bearer <key>"}
	}
	k, ok := s.Keys.find(key)
	if !ok {
		return &problem{Status: http.StatusUnauthorized, Detail: "the API key is not known"}
	}
	if !slices.Contains(k.scopes, scope) && !(scope == ScopeEvents && slices.Contains(k.scopes, ScopeAdmin)) {
		return &problem{Status: http.StatusForbidden, Detail: fmt.Sprintf("the API key lacks the scope %q", string(scope))}
	}
	return nil
}
