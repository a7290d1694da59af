package httpserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/internal/watch"
)

// Certificate is a certificate with its key in two files that may change. It is safe
// for concurrent use.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	loaded            [sha256.Size]byte // of the files' content
}

// LoadCertificate reads a certificate, with its chain, and its key from files in PEM.
// The error names the setting that is wrong.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	pair, err := c.read()
	if err != nil {
		return nil, err
	}
	if err := c.take(pair); err != nil {
		return nil, err
	}
	c.loaded = sha256.Sum256(pair)
	return c, nil
}

// between stands between the two files' content. PEM has no such byte.
var between = []byte{0}

func (c *Certificate) read() ([]byte, error) {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-key: %w", err)
	}
	return slices.Concat(cert, between, key), nil
}

// take puts a pair in force, unless it is broken.
func (c *Certificate) take(pair []byte) error {
	certPEM, keyPEM, _ := bytes.Cut(pair, between)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("--tls-cert %s, --tls-key %s: %w: both must be PEM, and belong together", c.certFile, c.keyFile, err)
	}
	c.current.Store(&cert)
	return nil
}

// Follow reads the files every interval until ctx is done, and puts a new pair in
// force for the connections that come then. A broken pair is logged once, and the
// former one stays.
func (c *Certificate) Follow(ctx context.Context, interval time.Duration) {
	watch.Content(ctx, c.read, c.loaded, interval, func(pair []byte, err error) bool {
		if err == nil {
			err = c.take(pair)
		}
		if err != nil {
			c.log.Error("certificate_ignored", "error", err)
			return true
		}
		c.log.Info("certificate_taken_over", "ends", c.Leaf().NotAfter)
		return true
	})
}

// Leaf returns the certificate in force.
func (c *Certificate) Leaf() *x509.Certificate { return c.current.Load().Leaf }

// get is tls.Config's GetCertificate.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}
