package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// listen binds the addresses first: a busy one must be told before anything
// else is started.
func (a *App) listen() error {
	if a.set.Probes != "" {
		h := a.probes()
		a.probe.Store(&h)
		var err error
		if a.set.Probes, err = a.serveHTTP("--probes", a.set.Probes, &a.probe); err != nil {
			return err
		}
	}
	if !a.set.has(RoleIngest) {
		return nil
	}
	var err error
	if a.set.HTTP, err = a.serveHTTP("--http", a.set.HTTP, &a.handler); err != nil {
		return err
	}
	if a.set.Public == "" {
		return nil
	}
	a.set.Public, err = a.serveHTTP("--public", a.set.Public, &a.public)
	return err
}

func (a *App) serveHTTP(flag, addr string, h *atomic.Pointer[http.Handler]) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: choose another address with %s HOST:PORT", flag, addr, errors.Unwrap(err), flag)
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ready := h.Load(); ready != nil {
				(*ready).ServeHTTP(w, r)
				return
			}
			starting(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("http_stopped", "address", addr, "error", err)
		}
	}()
	a.listeners = append(a.listeners, closer{"http " + flag, func(ctx context.Context) error {
		if err := srv.Shutdown(ctx); err != nil {
			return errors.Join(err, srv.Close())
		}
		return nil
	}})
	return l.Addr().String(), nil
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
