package httpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Certificate is a certificate with its key in two files that may change. It is safe
// for concurrent use.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	seen, pending     pair // what was in the files, and a change that the next look must confirm
}

// pair is the content of the two files, or why they could not be read.
type pair struct {
	cert, key []byte
	err       string
}

// LoadCertificate reads a certificate, with its chain, and its key from files in PEM.
// The error names the setting that is wrong.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, seen: readPair(certFile, keyFile)}
	if err := c.take(&c.seen); err != nil {
		return nil, err
	}
	c.pending = c.seen
	return c, nil
}

func readPair(certFile, keyFile string) (p pair) {
	var err error
	if p.cert, err = os.ReadFile(certFile); err != nil {
		return pair{err: "--tls-cert: " + err.Error()}
	}
	if p.key, err = os.ReadFile(keyFile); err != nil {
		return pair{err: "--tls-key: " + err.Error()}
	}
	return p
}

func (p *pair) same(o *pair) bool {
	return p.err == o.err && bytes.Equal(p.cert, o.cert) && bytes.Equal(p.key, o.key)
}

// take puts a pair in force, unless it is broken.
func (c *Certificate) take(p *pair) error {
	if p.err != "" {
		return fmt.Errorf("%s", p.err)
	}
	cert, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("--tls-cert %s, --tls-key %s: %w: both must be PEM, and belong together", c.certFile, c.keyFile, err)
	}
	c.current.Store(&cert)
	return nil
}

// Follow reads the files every interval until ctx is done, and puts a new pair in
// force for the connections that come then. A broken pair is logged once, and the
// former one stays. A change counts when two looks are equal, because the two files
// are not written at once.
func (c *Certificate) Follow(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.reread()
		}
	}
}

func (c *Certificate) reread() {
	now := readPair(c.certFile, c.keyFile)
	confirmed := now.same(&c.pending)
	c.pending = now
	if !confirmed || now.same(&c.seen) {
		return
	}
	c.seen = now
	if err := c.take(&now); err != nil {
		c.log.Error("certificate_ignored", "error", err)
		return
	}
	c.log.Info("certificate_taken_over", "ends", c.Leaf().NotAfter)
}

// Leaf returns the certificate in force.
func (c *Certificate) Leaf() *x509.Certificate { return c.current.Load().Leaf }

// get is tls.Config's GetCertificate.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}
