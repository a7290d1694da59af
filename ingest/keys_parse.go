package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ParseKeys reads a list of API keys, as in TIDEGATE_API_KEYS. Commas and line ends
// separate the keys; a line that begins with # is a comment. The forms of a key:
//
//	name:key:scope+scope   in full
//	key:scope+scope        its name is "key" and its place in the list, such as key1
//	key                    likewise, with all scopes
//
// In place of the key, sha256:<hex> gives its hash. After the scopes, @2027-01-31
// gives the last day, in UTC, on which the key is accepted. The error names the
// place in the list and never quotes a part of it, as any part may be the key.
func ParseKeys(s string) (Keys, error) {
	var ks Keys
	for line := range strings.Lines(s) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for entry := range strings.SplitSeq(line, ",") {
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}
			place := len(ks.list) + 1
			k, err := parseKey(entry, place)
			if err != nil {
				return Keys{}, fmt.Errorf("API key %d: %w", place, err)
			}
			if err := ks.add(k); err != nil {
				return Keys{}, err
			}
		}
	}
	return ks, nil
}

func (ks *Keys) add(k Key) error {
	for i := range ks.list {
		switch {
		case ks.list[i].hash == k.hash:
			return fmt.Errorf("API keys %d and %d are the same key: remove one, a key has one name and one list of scopes", i+1, len(ks.list)+1)
		case ks.list[i].Name == k.Name:
			return fmt.Errorf("API keys %d and %d have the same name: give each its own", i+1, len(ks.list)+1)
		}
	}
	ks.list = append(ks.list, k)
	return nil
}

// hashed begins a key that is given as its hash.
const hashed = "sha256"

var (
	// A key made by `openssl rand -hex 32` is too long for a name, so that a name
	// and a key in the wrong order are noticed.
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

	errForm = errors.New("write name:key:scope+scope, with scopes of events, read, admin")
	errName = errors.New("its name must have 1 to 32 letters, digits, `.`, `_`, `-`: write name:key:scope+scope")
	errHash = errors.New("after sha256: the hash must have 64 hexadecimal digits (printf %s \"$KEY\" | sha256sum)")
	errEnd  = errors.New("the end after @ must be a day such as 2027-01-31")
)

// parseKey reads one key; place is its place in the list.
func parseKey(entry string, place int) (Key, error) {
	fields := strings.Split(entry, ":")
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	k := Key{Name: fmt.Sprintf("key%d", place), Scopes: allScopes()}
	named := len(fields) >= 3 && fields[0] != hashed
	if named {
		if k.Name = fields[0]; !nameForm.MatchString(k.Name) || slices.Contains(reservedNames, k.Name) {
			return Key{}, errName
		}
		fields = fields[1:]
	}
	fields, err := k.setSecret(fields)
	switch {
	case err != nil:
		return Key{}, err
	case len(fields) > 1, len(fields) == 0 && named:
		return Key{}, errForm
	case len(fields) == 0:
		return k, nil
	}
	return k, k.setScopes(fields[0])
}

// setSecret takes the key or its hash from the fields and returns the others.
func (k *Key) setSecret(fields []string) ([]string, error) {
	if fields[0] != hashed {
		if fields[0] == "" {
			return nil, errors.New("it is empty: write name:key:scope+scope")
		}
		k.hash, k.length = sha256.Sum256([]byte(fields[0])), len(fields[0])
		return fields[1:], nil
	}
	if len(fields) < 2 || len(fields[1]) != hex.EncodedLen(sha256.Size) {
		return nil, errHash
	}
	if _, err := hex.Decode(k.hash[:], []byte(fields[1])); err != nil {
		return nil, errHash
	}
	return fields[2:], nil
}

// setScopes reads scope+scope, or scope+scope@day.
func (k *Key) setScopes(text string) error {
	list, day, ends := strings.Cut(text, "@")
	k.Scopes = nil
	for name := range strings.SplitSeq(list, "+") {
		scope := Scope(strings.TrimSpace(name))
		if !slices.Contains(allScopes(), scope) {
			return errForm
		}
		if !slices.Contains(k.Scopes, scope) {
			k.Scopes = append(k.Scopes, scope)
		}
	}
	if !ends {
		return nil
	}
	last, err := time.Parse(time.DateOnly, strings.TrimSpace(day))
	if err != nil {
		return errEnd
	}
	k.Ends = last.AddDate(0, 0, 1)
	return nil
}
