package ingest

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the metrics of the API.
type counters struct {
	set                   *metrics.Set
	accepted, rejected    *metrics.Counter
	refused, recordedLost *metrics.Counter
	seconds               *metrics.Histogram
	streams, wrongKeys    *metrics.Counter
}

// limitedMetric counts what bounds refused, by bound.
const limitedMetric = `tidegate_http_limited_total`

func newCounters(set *metrics.Set) counters {
	return counters{
		set:          set,
		accepted:     set.GetOrCreateCounter(`tidegate_ingest_events_total{result="accepted"}`),
		rejected:     set.GetOrCreateCounter(`tidegate_ingest_events_total{result="rejected"}`),
		refused:      set.GetOrCreateCounter(`tidegate_ingest_unavailable_total`),
		recordedLost: set.GetOrCreateCounter(`tidegate_ingest_auth_unrecorded_total`),
		seconds:      set.GetOrCreateHistogram(`tidegate_ingest_events_seconds`),
		wrongKeys:    set.GetOrCreateCounter(`tidegate_http_wrong_keys_total`),
		streams:      set.GetOrCreateCounter(`tidegate_ingest_decision_streams_total`),
	}
}

// recorder remembers the status, for the metrics, and to know after a panic whether
// an answer has begun.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// crossOrigin refuses requests that a foreign web page makes a browser send: on a
// developer's machine the API is open.
var crossOrigin = http.NewCrossOriginProtection()

func (s *Server) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if cause := recover(); cause != nil {
				s.panicked(rec, rt.path, cause)
			}
			s.counters.set.GetOrCreateCounter(`tidegate_http_requests_total{path="` + rt.path + `",code="` + strconv.Itoa(rec.status) + `"}`).Inc()
		}()
		h := rec.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if r.Body != nil {
			r.Body = http.MaxBytesReader(rec, r.Body, maxBodyBytes)
		}
		if err := s.serve(rec, r, rt); err != nil {
			s.fail(rec, r, rt.path, err)
		}
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt route) error {
	if err := s.checkHost(r, rt); err != nil {
		return err
	}
	if strings.HasPrefix(rt.path, "/v1/") && !strings.HasPrefix(rt.path, "/v1/auth") {
		if err := crossOrigin.Check(r); err != nil {
			return &problem{Status: http.StatusForbidden, Detail: "requests from other sites' pages are refused"}
		}
	}
	r, err := s.authenticate(r, &rt)
	if err != nil {
		if slow := s.boundAddress(r); slow != nil {
			return slow
		}
		return err
	}
	if err := s.bound(r, rt); err != nil {
		return err
	}
	if err := rt.query.check(r.URL.RawQuery); err != nil {
		return err
	}
	if rt.scope != "" && r.ContentLength != 0 {
		// Strangers have less time: that of the HTTP server, which also takes the
		// deadline away when the body has come.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	}
	return rt.do(w, r)
}

// bound counts the request for the key, or for the address of one without a key.
func (s *Server) bound(r *http.Request, rt route) error {
	switch {
	case rt.kind == health, rt.kind == gateway:
		return nil
	case rt.scope == "":
		return s.boundAddress(r)
	}
	return s.boundRequest(callerOf(r).Name)
}

func (s *Server) fail(w *recorder, r *http.Request, path string, err error) {
	p := asProblem(err)
	if p == nil {
		if r.Context().Err() != nil {
			return // the client is gone: nobody reads an answer
		}
		s.Log.Error("request was not answered", slog.String("path", path), slog.Any("error", err))
		p = &problem{Status: http.StatusInternalServerError, Detail: "the request could not be answered: see the log"}
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tidegate"`)
	}
	if p.Status == http.StatusServiceUnavailable {
		s.counters.refused.Inc()
		if n := s.busy.count(time.Now()); n > 0 {
			s.Log.Warn("requests were refused for now", slog.Uint64("count", n), slog.String("path", path), slog.Any("error", err))
		}
	}
	if w.status == 0 {
		p.write(w)
	}
}

func (s *Server) panicked(w *recorder, path string, cause any) {
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(cause)
	}
	s.Log.Error("handler panicked", slog.String("path", path), slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
	if w.status == 0 {
		(&problem{Status: http.StatusInternalServerError, Detail: "the request could not be answered: see the log"}).write(w)
	}
}
