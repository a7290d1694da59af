package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// recordTimeout bounds how long an allowed call waits until its use is stored.
const recordTimeout = 2 * time.Second

// auth tells a gateway whether a visitor's request may pass. It reads only the
// cache. Only recording a use waits for the network.
func (s *Server) auth(w http.ResponseWriter, r *http.Request) error {
	record, as403 := options(r)
	if record {
		if err := callerOf(r).need(ScopeEvents); err != nil {
			return err
		}
	}
	method, target := original(r)
	g := s.triggered(method, target)
	if g == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	customer := r.Header.Get("X-Customer-Id")
	if customer == "" {
		answer := gate.NoCustomer(g.Feature)
		answer.Detail += " The gateway must set X-Customer-Id."
		return &problem{Status: answer.Status, Document: answer}
	}
	if err := validCustomer(customer); err != nil {
		return err
	}
	if d := s.Decisions.Check(customer, g.Feature); !d.Allowed {
		return denied(w, &d, as403)
	}
	if record {
		s.recordUse(w, r, customer, g)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// options returns whether the gateway wants the use recorded, and blocks answered
// with 403. Behind /v1/auth/ the query is the visitor's, so only a header counts
// there.
func options(r *http.Request) (record, as403 bool) {
	record = r.Header.Get("X-Tidegate-Record") == "1"
	if pathBehindAuth(r) == "" {
		q := r.URL.Query()
		record, as403 = record || q.Get("record") == "1", q.Get("deny") == "403"
	}
	return record, as403
}

// pathBehindAuth returns the visitor's path where it stands behind /v1/auth.
func pathBehindAuth(r *http.Request) string {
	return strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/auth"), "/")
}

// original returns the visitor's method and target. Gateways pass them behind
// /v1/auth (Envoy) or in headers (nginx, Traefik).
func original(r *http.Request) (method, target string) {
	if pathBehindAuth(r) != "" {
		return r.Method, strings.TrimPrefix(r.URL.EscapedPath(), "/v1/auth")
	}
	return firstHeader(r, r.Method, "X-Forwarded-Method", "X-Original-Method"),
		firstHeader(r, "/", "X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url")
}

func firstHeader(r *http.Request, otherwise string, names ...string) string {
	for _, name := range names {
		if v := r.Header.Get(name); v != "" {
			return v
		}
	}
	return otherwise
}

// routes holds the triggers of a catalog.
type routes struct {
	of *gate.Catalog
	gate.Routes
}

// triggered returns the gate that a request meets, or nil.
func (s *Server) triggered(method, target string) *gate.Gate {
	c, known := s.Catalog(), s.routes.Load()
	if known == nil || known.of != c {
		known = &routes{of: c, Routes: *gate.NewRoutes(c.Announced())}
		s.routes.Store(known)
	}
	if i, ok := known.Match(method, gate.Spellings(target)...); ok {
		return &c.Gates[i]
	}
	return nil
}

// denied returns the answer to a blocked request. Headers repeat the body, as
// nginx passes only headers on.
func denied(w http.ResponseWriter, d *events.Decision, as403 bool) error {
	h := w.Header()
	h.Set("X-Tidegate-Feature", headerText(d.Feature))
	h.Set("X-Tidegate-Reason", string(d.Reason))
	h.Set("X-Tidegate-Message", headerText(d.Message))
	h.Set("X-Tidegate-Upgrade-Url", headerText(d.UpgradeURL))
	answer := gate.Blocked(d)
	p := &problem{Status: answer.Status, Retry: answer.RetryAfter, Document: answer}
	if as403 { // the whole answer, for a gateway that passes no body on
		h.Set("X-Tidegate-Status", strconv.Itoa(p.Status))
		h.Set("X-Tidegate-Problem", asciiJSON(p.body()))
		answer.Status = http.StatusForbidden
		p.Status, p.Document = answer.Status, answer
	}
	if d.UnblocksAt != nil {
		h.Set("X-Tidegate-Unblocks-At", d.UnblocksAt.UTC().Format(time.RFC3339))
	}
	return p
}

// headerText replaces everything that cannot stand in a header.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// asciiJSON escapes every character of JSON that is not ASCII.
func asciiJSON(b []byte) string {
	var out strings.Builder
	for _, r := range string(b) {
		switch {
		case r < 0x7f:
			out.WriteByte(byte(r))
		case r < 0x10000:
			fmt.Fprintf(&out, "\\u%04x", r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, "\\u%04x\\u%04x", high, low)
		}
	}
	return out.String()
}

// recordUse records one use of a gate that counts. Only the app knows the values
// of other meters. If the use cannot be stored, the request passes all the same;
// the header, the log and a counter say so.
func (s *Server) recordUse(w http.ResponseWriter, r *http.Request, customer string, g *gate.Gate) {
	if g.Meter.Aggregate != gate.Count {
		w.Header().Set("X-Tidegate-Recorded", "false")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), recordTimeout)
	defer cancel()
	use := events.Event{ID: rand.Text(), Source: "gateway", Type: g.Meter.Event, Subject: customer}
	u := s.bounds.key(callerOf(r).Name)
	err := s.admitCustomers(ctx, s.bounds.users, u, &u.users, customer)
	if err == nil {
		err = s.publisher.Publish(ctx, []events.Event{use}, events.BatchToken)
	}
	w.Header().Set("X-Tidegate-Recorded", strconv.FormatBool(err == nil))
	if err != nil && !errors.Is(err, context.Canceled) {
		s.counters.recordedLost.Inc()
		s.Log.Warn("use was not recorded in time", slog.Any("error", err))
	}
}
