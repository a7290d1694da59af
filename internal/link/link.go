// Package link signs and parses the tokens of links in mails. The notifier signs
// them; the gateway parses them. The signature prevents that somebody makes a link for
// another customer. Its functions are safe for concurrent use.
//
// A token is base64url of a version, the fields and an HMAC-SHA256 cut to 128
// bits. It is not secret: everybody with the link can read the customer's id.
package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind says what a link does. It is signed too.
type Kind string

// The kinds.
const (
	Upgrade     Kind = "upgrade"     // /u/{token}
	Unsubscribe Kind = "unsubscribe" // /unsubscribe/{token}
)

// Link is the content of a token.
type Link struct {
	Kind        Kind
	Customer    string
	Feature     string    // the feature whose limit was reached
	WindowStart time.Time // of the window in which the limit was reached
	Expires     time.Time // whole seconds; from this moment the link is expired
}

var (
	// ErrInvalid is returned by Parse for a token that is damaged, or signed with
	// another secret.
	ErrInvalid = errors.New("link is not valid")
	// ErrExpired is returned by Parse, together with the link, for a valid token
	// that has expired.
	ErrExpired = errors.New("link has expired")
)

const (
	version  = 1
	macBytes = 16
	// maxToken is far more than a customer's id of 256 bytes and a feature need.
	maxToken = 2048
	// domain separates this use of the secret from others.
	domain = "tidegate/link\x00"
)

// encoding is strict, so that a token has only one form.
var encoding = base64.RawURLEncoding.Strict()

// Sign returns the token of l. It returns "" without a secret and for an unknown kind.
func Sign(secret []byte, l Link) string {
	k := kindByte(l.Kind)
	if len(secret) == 0 || k == 0 {
		return ""
	}
	b := make([]byte, 0, 48+len(l.Customer)+len(l.Feature))
	b = append(b, version, k)
	b = binary.AppendVarint(b, l.Expires.Unix())
	b = binary.AppendVarint(b, l.WindowStart.Unix())
	b = binary.AppendUvarint(b, uint64(l.WindowStart.Nanosecond()))
	b = appendString(b, l.Customer)
	b = appendString(b, l.Feature)
	return encoding.EncodeToString(append(b, sum(secret, b)...))
}

// Parse checks a token, which any of the secrets may have signed, and returns its
// content. It returns ErrInvalid or ErrExpired. With ErrExpired it also returns the
// link.
func Parse(secrets [][]byte, token string, now time.Time) (Link, error) {
	// The decoder ignores line breaks.
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return Link{}, ErrInvalid
	}
	b, err := encoding.DecodeString(token)
	if err != nil || len(b) < 2+macBytes {
		return Link{}, ErrInvalid
	}
	body, mac := b[:len(b)-macBytes], b[len(b)-macBytes:]
	signed := func(secret []byte) bool {
		return len(secret) > 0 && subtle.ConstantTimeCompare(mac, sum(secret, body)) == 1
	}
	if !slices.ContainsFunc(secrets, signed) {
		return Link{}, ErrInvalid
	}
	l, err := decode(body)
	if err != nil {
		return Link{}, err
	}
	if !now.Before(l.Expires) {
		return l, fmt.Errorf("%w: at %s", ErrExpired, l.Expires.Format(time.RFC3339))
	}
	return l, nil
}

// Once returns a message id for what must be recorded once. Without the secret nobody can
// foresee it, and publish a message with it before.
func Once(secret []byte, parts ...string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("tidegate/once"))
	for _, p := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return encoding.EncodeToString(h.Sum(nil)[:macBytes])
}

func decode(b []byte) (Link, error) {
	if b[0] != version {
		return Link{}, fmt.Errorf("%w: version %d is not known", ErrInvalid, b[0])
	}
	kind := kindOf(b[1])
	if kind == "" {
		return Link{}, ErrInvalid
	}
	r := reader{b: b[2:]}
	expires, start, nanos := r.varint(), r.varint(), r.uvarint()
	l := Link{Kind: kind, Customer: r.text(), Feature: r.text()}
	if r.bad || len(r.b) > 0 || nanos > 999_999_999 {
		return Link{}, ErrInvalid
	}
	l.Expires, l.WindowStart = time.Unix(expires, 0).UTC(), time.Unix(start, int64(nanos)).UTC()
	return l, nil
}

func kindByte(k Kind) byte {
	switch k {
	case Upgrade:
		return 'u'
	case Unsubscribe:
		return 'n'
	}
	return 0
}

func kindOf(b byte) Kind {
	switch b {
	case 'u':
		return Upgrade
	case 'n':
		return Unsubscribe
	}
	return ""
}

func sum(secret, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(domain))
	h.Write(body)
	return h.Sum(nil)[:macBytes]
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader reads fields from b until one does not fit.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}
