package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/internal/httpserver"
	"github.com/tidegate-io/tidegate/internal/misuse"
)

// listen binds the addresses first: a busy one must be told before anything
// else is started.
func (a *App) listen() error {
	if a.set.Probes != "" {
		h := a.probes()
		a.probe.Store(&h)
		var err error
		if a.set.Probes, err = a.serveHTTP("--probes", a.set.Probes, &a.probe, nil); err != nil {
			return err
		}
	}
	if !a.set.has(RoleIngest) {
		return nil
	}
	cert, err := a.certificate()
	if err != nil {
		return err
	}
	if a.set.HTTP, err = a.serveHTTP("--http", a.set.HTTP, &a.handler, cert); err != nil {
		return err
	}
	if a.set.Public == "" {
		return nil
	}
	a.set.Public, err = a.serveHTTP("--public", a.set.Public, &a.public, cert)
	return err
}

func (a *App) serveHTTP(flag, addr string, h *atomic.Pointer[http.Handler], cert *httpserver.Certificate) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: choose another address with %s HOST:PORT", flag, addr, errors.Unwrap(err), flag)
	}
	srv := httpserver.New(l, httpserver.Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ready := h.Load(); ready != nil {
				(*ready).ServeHTTP(w, r)
				return
			}
			starting(w, r)
		}),
		Log: a.log, Timeouts: a.set.Timeouts, Certificate: cert,
		Connections: func() int { return a.config.Load().HTTP.Connections },
	})
	go func() {
		if err := srv.Serve(); err != nil {
			a.log.Error("http_stopped", "address", addr, "error", err)
		}
	}()
	a.listeners = append(a.listeners, closer{"http " + flag, srv.Shutdown})
	return l.Addr().String(), nil
}

// certificateEvery is how often the files of the certificate are read.
const certificateEvery = 5 * time.Second

// certificate loads the certificate of --tls-cert and follows its files; nil without
// one.
func (a *App) certificate() (*httpserver.Certificate, error) {
	if a.set.TLSCert == "" && a.set.TLSKey == "" {
		return nil, nil
	}
	if a.set.TLSCert == "" || a.set.TLSKey == "" {
		return nil, misuse.Errorf("--tls-cert and --tls-key belong together: set both, or neither")
	}
	cert, err := httpserver.LoadCertificate(a.set.TLSCert, a.set.TLSKey, a.log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { cert.Follow(ctx, certificateEvery); close(done) }()
	a.onStop("certificate", func(context.Context) error { cancel(); <-done; return nil })
	a.metrics.NewGauge("tidegate_certificate_expiry_timestamp_seconds", func() float64 { return float64(cert.Leaf().NotAfter.Unix()) })
	return cert, nil
}

// starting answers while NATS is waited for.
func starting(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/livez" {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"Tidegate is starting and waits for NATS: see its log"}` + "\n"))
}
