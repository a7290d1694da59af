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

// ErrForeign is returned by Open and Prepare when the database has collections
// with our names that Tidegate did not create.
var ErrForeign = errors.New("the database is someone else's")

// ErrURI is returned by New, Open and OpenReader for an invalid URI.
var ErrURI = errors.New("not a valid URI of MongoDB")

// Codes of the server's errors.
const (
	codeUnauthorized         = 13
	codeAuthenticationFailed = 18
	codeIndexOptionsConflict = 85 // the same index exists under another name
)

// fail adds to err which operation failed on which server, and what to do.
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

// uriError returns the error of an invalid URI in a setting. The driver's text
// quotes parts of the URI; uriError contains it only when it has no secret.
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

// secrets returns the parts of a URI, which may be invalid, that must not be shown:
// user and password, raw and decoded, and the values of options that may hold one.
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
