package ingest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/guard"
)

// funnelSpan is the period of a funnel without `from`.
const funnelSpan = 30 * 24 * time.Hour

func (s *Server) funnel(w http.ResponseWriter, r *http.Request) error {
	if s.Funnel == nil {
		return &problem{Status: http.StatusNotImplemented, Detail: "the funnel is not available here"}
	}
	q := r.URL.Query()
	to, err := dayOr("to", q.Get("to"), s.Now())
	if err != nil {
		return err
	}
	from, err := dayOr("from", q.Get("from"), to.Add(-funnelSpan))
	if err != nil {
		return err
	}
	if !from.Before(to) {
		return badRequest("`from` must lie before `to`")
	}
	by := q.Get("by")
	if by != "" && by != "plan" && by != "feature" && by != "week" {
		return badRequest("`by` %.40q is none of: plan, feature, week", by)
	}
	notifications, err := s.Store.NotificationsBetween(r.Context(), from, to)
	if err != nil {
		return err
	}
	conversions, err := s.Store.Conversions(r.Context(), from, to)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.Funnel(from, to, by, notifications, conversions))
}

// dayOr reads a moment, or a day, which stands for its beginning in UTC.
func dayOr(name, text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise.UTC(), nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, badRequest("`%s` %.40q is neither a day such as 2026-01-31 nor RFC 3339", name, text)
	}
	return t.UTC(), nil
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyTimeout bounds each check of readiness.
const readyTimeout = 2 * time.Second

// Degraded is an error of a readiness check that /readyz shows without becoming
// unready: a load balancer should go on sending requests.
type Degraded struct{ Err error }

func (d Degraded) Error() string { return d.Err.Error() }

// Unwrap gives the reason.
func (d Degraded) Unwrap() error { return d.Err }

// withKey is what /readyz says to a caller who may not read, in place of a reason,
// which may name hosts.
const withKey = "a key with the scope read is told why; the log says it, too"

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	told, err := s.identify(r, &route{path: "/readyz"})
	mayRead := err == nil && told.can(ScopeRead)
	checks := maps.Clone(s.Ready)
	if checks == nil {
		checks = map[string]func(context.Context) error{}
	}
	if _, own := checks["nats"]; !own {
		checks["nats"] = s.connected
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed = map[string]string{}
		weak   = map[string]string{}
	)
	for name, check := range checks {
		wg.Go(func() {
			if err := guard.Do(func() error { return check(ctx) }); err != nil {
				mu.Lock()
				defer mu.Unlock()
				list, why := failed, withKey
				if errors.As(err, new(Degraded)) {
					list = weak
				}
				if mayRead {
					why = err.Error()
				} else {
					s.notReady(name, err)
				}
				list[name] = why
			}
		})
	}
	wg.Wait()
	if len(failed) == 0 {
		if len(weak) > 0 {
			return writeJSON(w, http.StatusOK, map[string]any{"status": "degraded", "not_ready": weak})
		}
		return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}
	maps.Copy(failed, weak)
	names := slices.Sorted(maps.Keys(failed))
	// Written here: not being ready yet is no refusal to count or log.
	(&problem{Status: http.StatusServiceUnavailable, Detail: "not ready: " + strings.Join(names, ", "), Retry: 1,
		More: map[string]any{"not_ready": failed}}).write(w)
	return nil
}

// notReady logs why a check of readiness failed.
func (s *Server) notReady(name string, err error) {
	if n := s.unready.count(time.Now()); n > 0 {
		s.Log.Warn("not ready", slog.String("check", name), slog.Any("error", err))
	}
}

func (s *Server) connected(context.Context) error {
	if st := s.NC.Status(); st != nats.CONNECTED {
		return fmt.Errorf("the connection is %s", strings.ToLower(st.String()))
	}
	return nil
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	s.Metrics.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
	return nil
}

//go:embed page
var pageFiles embed.FS

const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// page serves a file of the web page.
func page(name, contentType string) handler {
	body, err := pageFiles.ReadFile(name)
	return func(w http.ResponseWriter, _ *http.Request) error {
		if err != nil {
			return err
		}
		w.Header().Set("Content-Security-Policy", pagePolicy)
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(body)
		return nil
	}
}
