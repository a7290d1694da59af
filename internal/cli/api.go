package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/environ"
)

// api talks to a running Tidegate over HTTP.
type api struct {
	base string
	key  string
	http *http.Client
}

// connect finds the running Tidegate: TIDEGATE_URL, TIDEGATE_API_KEY and TIDEGATE_CA.
func connectAPI() (api, error) {
	key, err := environ.Lookup("TIDEGATE_API_KEY")
	base := os.Getenv("TIDEGATE_URL")
	if base == "" {
		base = "http://127.0.0.1:8080"
	}
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return api{}, errors.New("TIDEGATE_URL is not the address of a Tidegate, such as http://127.0.0.1:8080; percent-encode a user and password in it")
	}
	client, cerr := httpClient(time.Minute)
	return api{base: strings.TrimSuffix(base, "/"), key: key, http: client}, errors.Join(err, cerr)
}

// httpClient returns a client that trusts the certificates in TIDEGATE_CA besides
// those of the system.
func httpClient(timeout time.Duration) (*http.Client, error) {
	c := &http.Client{Timeout: timeout}
	file := os.Getenv("TIDEGATE_CA")
	if file == "" {
		return c, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("TIDEGATE_CA: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("TIDEGATE_CA: %s has no certificate in PEM", file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	c.Transport = transport
	return c, nil
}

// do sends a request and decodes the answer into out, unless that is nil. An
// error of the API becomes an error with its detail.
func (a api) do(ctx context.Context, method, path string, contentType string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if method != http.MethodGet {
		req.Header.Set("X-Tidegate-User", whoami()) // for the audit log
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		var untrusted *tls.CertificateVerificationError
		if errors.As(err, &untrusted) {
			return fmt.Errorf("%s: %w: name the CA that signed its certificate in TIDEGATE_CA", a.base, err)
		}
		return fmt.Errorf("no answer from %s: %w: start Tidegate (`tidegate dev`), or set TIDEGATE_URL", a.base, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return apiError(resp, b)
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = bytes.TrimSpace(b)
		return nil
	}
	return json.Unmarshal(b, out)
}

// whoami names the person who runs a command: user@host.
func whoami() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return printable(strings.ToValidUTF8(name+"@"+host, ""))
}

// statusError is an answer that is not a success.
type statusError struct {
	status int
	after  string // Retry-After
	text   string
	// Of a batch without anything good: what is wrong with each.
	rejected []rejected
}

// rejected is what an answer says of a part of a batch that was not taken.
type rejected struct {
	Index int
	Error string
}

func (e *statusError) Error() string { return e.text }

func apiError(resp *http.Response, body []byte) error {
	var p struct {
		Title, Detail string
		Rejected      []rejected
	}
	_ = json.Unmarshal(body, &p) // an answer that is no problem document is shown as it is
	text := p.Detail
	switch {
	case text == "" && p.Title != "":
		text = p.Title
	case text == "":
		text = fmt.Sprintf("%s: %.200s", resp.Status, body)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		text += ": set TIDEGATE_API_KEY"
	}
	return &statusError{status: resp.StatusCode, after: resp.Header.Get("Retry-After"), text: text, rejected: p.Rejected}
}

func (a api) get(ctx context.Context, path string, q url.Values, out any) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return a.do(ctx, http.MethodGet, path, "", nil, out)
}
