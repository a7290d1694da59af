package ingest

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"time"
)

// Scope is something that an API key may do.
type Scope string

// The scopes. Admin includes events, but not read.
const (
	ScopeEvents Scope = "events" // report usage and identify customers
	ScopeRead   Scope = "read"   // ask for decisions, customers and figures
	ScopeAdmin  Scope = "admin"  // set plans and overrides, erase, switch gates
)

func allScopes() []Scope { return []Scope{ScopeEvents, ScopeRead, ScopeAdmin} }

// Key is an API key without its secret.
type Key struct {
	Name   string
	Scopes []Scope
	Ends   time.Time // from this moment the key is refused; zero: never

	hash   [sha256.Size]byte
	length int // in bytes; 0: only the hash was given
}

// Ended reports whether the key is refused at now.
func (k *Key) Ended(now time.Time) bool { return !k.Ends.IsZero() && !now.Before(k.Ends) }

// LastDay returns the last day, in UTC, on which the key is accepted; "" without an end.
func (k *Key) LastDay() string {
	if k.Ends.IsZero() {
		return ""
	}
	return k.Ends.AddDate(0, 0, -1).Format(time.DateOnly)
}

// ShorterThan reports whether the key is known to have fewer than n bytes. The
// length of a key that was given as a hash is not known.
func (k *Key) ShorterThan(n int) bool { return k.length > 0 && k.length < n }

// Keys are the accepted API keys. The zero value has none and leaves the API open:
// the caller must then listen on loopback only.
type Keys struct{ list []Key }

// Empty reports whether there are no keys and the API is open.
func (ks Keys) Empty() bool { return len(ks.list) == 0 }

// All returns the keys in the order of the list.
func (ks Keys) All() []Key { return slices.Clone(ks.list) }

// find compares with every key in constant time. It compares hashes, so that the
// time does not depend on lengths either.
func (ks Keys) find(secret string) *Key {
	hash := sha256.Sum256([]byte(secret))
	at := -1
	for i := range ks.list {
		if subtle.ConstantTimeCompare(hash[:], ks.list[i].hash[:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	return &ks.list[at]
}

// same returns the key with the secret of another one, or nil.
func (ks Keys) same(k *Key) *Key {
	i := slices.IndexFunc(ks.list, func(o Key) bool { return o.hash == k.hash })
	if i < 0 {
		return nil
	}
	return &ks.list[i]
}

// errNoKeys is returned for a file of keys that has none: it must not open the API.
var errNoKeys = errors.New("there is no API key in it: write one a line, as name:key:scope+scope")

// ParseKeyFile is ParseKeys for a file, which must have at least one key.
func ParseKeyFile(text string) (Keys, error) {
	ks, err := ParseKeys(text)
	if err == nil && ks.Empty() {
		err = errNoKeys
	}
	return ks, err
}
