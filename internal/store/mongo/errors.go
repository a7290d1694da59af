package mongo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/x/mongo/driver/topology"
)

// ErrForeign is returned by Open when the database holds collections of our
// names that Tidegate did not make.
var ErrForeign = errors.New("the database is someone else's")

// ErrURI is returned by Open and OpenReader for a URI that no server can be
// reached by.
var ErrURI = errors.New("not a valid URI of MongoDB")

// Codes of the server's errors.
const (
	codeUnauthorized         = 13
	codeAuthenticationFailed = 18
	codeIndexOptionsConflict = 85 // the same index stands there under another name
)

// fail says what was done where, and what to do about it.
func (s *Store) fail(doing string, err error) error {
	var selection topology.ServerSelectionError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %s: %w", s.where(), doing, err)
	case hasCode(err, codeAuthenticationFailed) || strings.Contains(err.Error(), "auth error"):
		return fmt.Errorf("%s: %s: the server refuses the user, check user, password and authSource in %s: %w", s.where(), doing, s.setting, err)
	case hasCode(err, codeUnauthorized):
		return fmt.Errorf("%s: %s: the user may not do that, give it the role %s on the database: %w", s.where(), doing, s.role, err)
	case driver.IsNetworkError(err), driver.IsTimeout(err), errors.As(err, &selection), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %s: no answer, check that the server runs and that %s names it: %w", s.where(), doing, s.setting, err)
	}
	return fmt.Errorf("%s: %s: %w", s.where(), doing, err)
}

func hasCode(err error, code int) bool {
	var server driver.ServerError
	return errors.As(err, &server) && server.HasErrorCode(code)
}

// uriError tells what is wrong with the URI that a setting holds. The driver's text quotes parts of
// it, so it is only shown when it shows no secret.
func uriError(setting, uri string, err error) error {
	const advice = "it has the form mongodb://user:password@host:27017/?authSource=admin with user and password percent-encoded"
	detail := strings.TrimPrefix(err.Error(), "error parsing uri: ")
	for _, secret := range secrets(uri) {
		if strings.Contains(detail, secret) {
			return fmt.Errorf("%s is %w: %s", setting, ErrURI, advice)
		}
	}
	return fmt.Errorf("%s is %w: %s: %s", setting, ErrURI, advice, detail)
}

// secrets are the parts of a URI, however broken, that nobody may see: user
// and password, raw and decoded, and the values of options that may hold one.
func secrets(uri string) []string {
	_, rest, ok := strings.Cut(uri, "://")
	if !ok {
		rest = uri
	}
	var found []string
	add := func(s string) {
		found = append(found, s)
		if plain, err := url.PathUnescape(s); err == nil {
			found = append(found, plain)
		}
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		for _, part := range strings.FieldsFunc(rest[:at], func(r rune) bool { return strings.ContainsRune(":@/", r) }) {
			add(part)
		}
	}
	if _, query, ok := strings.Cut(rest, "?"); ok {
		for _, pair := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' }) {
			name, value, _ := strings.Cut(pair, "=")
			name = strings.ToLower(name)
			if strings.Contains(name, "password") || strings.Contains(name, "properties") {
				add(value)
			}
		}
	}
	return nonEmpty(found)
}

func nonEmpty(all []string) []string {
	kept := all[:0]
	for _, s := range all {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}
