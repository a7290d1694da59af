package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Connection describes a connection to NATS.
type Connection struct {
	URL      string        // of one server, or of several with commas between; "": nats.DefaultURL
	Options  []nats.Option // who connects, and how the servers are known
	Warnings []string      // such as a secret in a file that other users can read
}

// FromEnvironment returns the connection that the variables describe which the nats
// command reads as well:
//
//	NATS_URL                 the servers
//	NATS_CREDS               file with credentials
//	NATS_NKEY                file with the seed of an nkey
//	NATS_USER, NATS_PASSWORD a user
//	NATS_TOKEN               a token
//	NATS_CA                  file with the certificates by which the servers are known
//	NATS_CERT, NATS_KEY      files with the certificate of this client and its key
//	NATS_INBOX_PREFIX        where answers go, if the user may not read _INBOX.>
//
// Each value may stand in a file that the variable with _FILE names instead; for a
// variable that names a file itself, that is the same file. getenv is os.Getenv in most
// apps. An error names the variable and what to do.
func FromEnvironment(getenv func(string) string) (Connection, error) {
	e := environment{getenv: getenv}
	c := Connection{URL: e.value("NATS_URL")}
	who := e.user(&c)
	e.tls(&c)
	if prefix := e.value("NATS_INBOX_PREFIX"); prefix != "" {
		option := nats.CustomInboxPrefix(prefix)
		if option(&nats.Options{}) != nil {
			e.fail("NATS_INBOX_PREFIX: %q is not the beginning of a subject, such as _INBOX_app", prefix)
		}
		c.Options = append(c.Options, option)
	}
	if len(who) > 0 && strings.Contains(c.URL, "@") {
		who = append(who, "the user in NATS_URL")
	}
	if len(who) > 1 {
		e.fail("%s say two ways to log in: leave one", strings.Join(who, " and "))
	}
	c.Warnings = e.warnings
	return c, e.err
}

// Connect connects. The connection outlives restarts of the servers, notices within 6 s
// that one is silent, and is returned at once, whether they can be reached or not. Later
// options win.
func (c Connection) Connect(more ...nats.Option) (*nats.Conn, error) {
	address := c.URL
	if address == "" {
		address = nats.DefaultURL
	}
	opts := append([]nats.Option{nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		// A machine that loses its power closes no connection.
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2)}, c.Options...)
	nc, err := nats.Connect(address, append(opts, more...)...)
	if errors.As(err, new(*url.Error)) {
		return nil, errAddress
	}
	return nc, err
}

// errAddress stands for errors that quote an address, with the password in it.
var errAddress = errors.New("an address of the NATS servers cannot be read: write nats://host:4222 or nats://user:password@host:4222, " +
	"with commas between several, and percent-encode user and password")

// environment reads variables and keeps the first error.
type environment struct {
	getenv   func(string) string
	warnings []string
	err      error
}

func (e *environment) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// value returns the value of a variable, or the content of the file that the variable
// with _FILE names.
func (e *environment) value(name string) string {
	if v := e.getenv(name); v != "" {
		return v
	}
	path := e.getenv(name + "_FILE")
	if path == "" {
		return ""
	}
	return strings.TrimSpace(string(e.read(name+"_FILE", path)))
}

// file returns the path that a variable names, after a look into the file.
func (e *environment) file(name string) string {
	path := e.getenv(name)
	if path == "" {
		if path = e.getenv(name + "_FILE"); path == "" {
			return ""
		}
		name += "_FILE"
	}
	e.read(name, path)
	return path
}

func (e *environment) read(name, path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		e.fail("%s: the file %s cannot be read: %w", name, path, err)
	}
	return b
}

// secret warns of a file that other users can read.
func (e *environment) secret(name string) {
	for _, name := range []string{name, name + "_FILE"} {
		info, err := os.Stat(e.getenv(name))
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
			e.warnings = append(e.warnings, fmt.Sprintf("%s: every user of this machine can read the file %s: chmod o= it", name, e.getenv(name)))
		}
	}
}

// user adds who connects, and returns the names of the variables that say it.
func (e *environment) user(c *Connection) (who []string) {
	if path := e.file("NATS_CREDS"); path != "" {
		e.secret("NATS_CREDS")
		credentials := nats.UserCredentials(path)
		if e.err == nil && !isUser(credentials) {
			e.fail("NATS_CREDS: the file %s holds no credentials of a user, a JWT and the seed of its nkey: make it by nsc generate creds", path)
		}
		who, c.Options = append(who, "NATS_CREDS"), append(c.Options, credentials)
	}
	if path := e.file("NATS_NKEY"); path != "" && e.err == nil {
		e.secret("NATS_NKEY")
		seed, err := nats.NkeyOptionFromSeed(path)
		if err != nil {
			e.fail("NATS_NKEY: the file %s holds no seed of a user's nkey (it begins with SU): %w", path, err)
		}
		who, c.Options = append(who, "NATS_NKEY"), append(c.Options, seed)
	}
	user, password := e.value("NATS_USER"), e.value("NATS_PASSWORD")
	e.secret("NATS_PASSWORD")
	switch {
	case user != "":
		who, c.Options = append(who, "NATS_USER"), append(c.Options, nats.UserInfo(user, password))
	case password != "":
		e.fail("NATS_PASSWORD is set, but NATS_USER is not: set both")
	}
	if token := e.value("NATS_TOKEN"); token != "" {
		e.secret("NATS_TOKEN")
		who, c.Options = append(who, "NATS_TOKEN"), append(c.Options, nats.Token(token))
	}
	return who
}

// isUser reports whether credentials can answer a server: the library reads them only
// when one asks, and then tries again for ever.
func isUser(credentials nats.Option) bool {
	var o nats.Options
	if credentials(&o) != nil {
		return false
	}
	token, err := o.UserJWT()
	if err != nil || strings.Count(token, ".") != 2 {
		return false
	}
	_, err = o.SignatureCB([]byte("nonce"))
	return err == nil
}

// tls adds the certificates.
func (e *environment) tls(c *Connection) {
	ca, cert, key := e.file("NATS_CA"), e.file("NATS_CERT"), e.file("NATS_KEY")
	e.secret("NATS_KEY")
	if (cert == "") != (key == "") {
		e.fail("NATS_CERT and NATS_KEY belong together: set both")
	}
	if e.err != nil {
		return
	}
	if ca != "" {
		if !x509.NewCertPool().AppendCertsFromPEM(e.read("NATS_CA", ca)) {
			e.fail("NATS_CA: the file %s holds no certificate in PEM", ca)
		}
		c.Options = append(c.Options, nats.RootCAs(ca))
	}
	if cert != "" {
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			e.fail("NATS_CERT, NATS_KEY: %w", err)
		}
		c.Options = append(c.Options, nats.ClientCert(cert, key))
	}
}
