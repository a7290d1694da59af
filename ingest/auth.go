package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/plan"
)

// recordTimeout is how long an allowed call waits for its use to be stored.
const recordTimeout = 2 * time.Second

// auth answers a gateway whether a visitor's request may pass. It reads only
// the cache; nothing but the recording of a use waits for the network.
func (s *Server) auth(w http.ResponseWriter, r *http.Request) error {
	record := r.URL.Query().Get("record") == "1"
	if record {
		if err := s.allow(r, ScopeEvents); err != nil {
			return err
		}
	}
	method, target := original(r)
	catalog := s.Catalog()
	g := triggered(&catalog, method, target)
	if g == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	customer := r.Header.Get("X-Customer-Id")
	if customer == "" {
		return &problem{Status: http.StatusUnauthorized, Detail: "the request names no customer: the gateway must set X-Customer-Id"}
	}
	if err := validCustomer(customer); err != nil {
		return err
	}
	if d := s.Decisions.Check(customer, g.Feature); !d.Allowed {
		return denied(w, &d, r.URL.Query().Get("deny") == "403")
	}
	if record {
		s.recordUse(r.Context(), w, customer, g)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// original is the visitor's method and path, of which gateways tell in
// different ways: behind /v1/auth (Envoy), or in headers (nginx, Traefik).
func original(r *http.Request) (method, target string) {
	if rest := strings.TrimPrefix(r.URL.EscapedPath(), "/v1/auth"); rest != "" && rest != "/" {
		return r.Method, cleanTarget(rest)
	}
	return firstHeader(r, r.Method, "X-Forwarded-Method", "X-Original-Method"),
		cleanTarget(firstHeader(r, "/", "X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url"))
}

func firstHeader(r *http.Request, otherwise string, names ...string) string {
	for _, name := range names {
		if v := r.Header.Get(name); v != "" {
			return v
		}
	}
	return otherwise
}

// cleanTarget makes one path of the ways to write it, so that none of them
// passes by a gate.
func cleanTarget(raw string) string {
	if i := strings.Index(raw, "://"); i >= 0 {
		raw = raw[i+3:]
		if j := strings.IndexAny(raw, "/?#"); j >= 0 {
			raw = raw[j:]
		} else {
			raw = "/"
		}
	}
	if i := strings.IndexAny(raw, "?#"); i >= 0 {
		raw = raw[:i]
	}
	if plain, err := url.PathUnescape(raw); err == nil {
		raw = plain
	}
	clean := path.Clean("/" + raw)
	if strings.HasSuffix(raw, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// triggered is the gate whose trigger a request fits best, or nil: a whole
// path before a prefix, a longer one before a shorter one, a method before any.
func triggered(c *plan.Catalog, method, target string) *plan.Gate {
	var best *plan.Gate
	for i := range c.Gates {
		if g := &c.Gates[i]; triggers(g, method, target) && (best == nil || weight(g) > weight(best)) {
			best = g
		}
	}
	return best
}

func weight(g *plan.Gate) int {
	w := 4 * len(g.Endpoint)
	if !strings.HasSuffix(g.Endpoint, "*") {
		w += 1 << 20
	}
	if g.Method != "" {
		w++
	}
	return w
}

func triggers(g *plan.Gate, method, target string) bool {
	if g.Endpoint == "" || g.Method != "" && g.Method != "*" && !strings.EqualFold(g.Method, method) {
		return false
	}
	if prefix, open := strings.CutSuffix(g.Endpoint, "*"); open {
		return strings.HasPrefix(target, prefix)
	}
	return strings.TrimSuffix(target, "/") == strings.TrimSuffix(g.Endpoint, "/")
}

// denied is the answer to a blocked request. nginx passes only headers on, so
// they say what the body says.
func denied(w http.ResponseWriter, d *events.Decision, as403 bool) error {
	h := w.Header()
	h.Set("X-Tidegate-Feature", headerText(d.Feature))
	h.Set("X-Tidegate-Reason", string(d.Reason))
	h.Set("X-Tidegate-Message", headerText(d.Message))
	h.Set("X-Tidegate-Upgrade-Url", headerText(d.UpgradeURL))
	p := &problem{
		Status: http.StatusPaymentRequired, Type: "urn:tidegate:" + strings.ReplaceAll(string(d.Reason), "_", "-"), Title: "Limit reached", Detail: d.Message,
		More: map[string]any{
			"feature": d.Feature, "reason": d.Reason, "limit": d.Limit, "used": d.Used,
			"unblocks_at": d.UnblocksAt, "upgrade_url": d.UpgradeURL,
		},
	}
	switch d.Reason {
	case events.NotInPlan:
		p.Status, p.Title = http.StatusForbidden, "Not in your plan"
	case events.NoDecision: // the gate fails closed: nothing that paying would help
		p.Status, p.Title, p.Retry = http.StatusServiceUnavailable, "Not known yet", 1
	}
	if as403 {
		p.Status = http.StatusForbidden
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	if d.UnblocksAt != nil {
		h.Set("X-Tidegate-Unblocks-At", d.UnblocksAt.UTC().Format(time.RFC3339))
	}
	return p
}

// headerText keeps a text within one header line of ASCII.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// recordUse reports one use of what the gate meters. Only counts can be
// reported: the values of other meters are the app's to know. A use that
// cannot be stored lets the request pass, as everything of the request path
// does; the header, the log and a counter tell.
func (s *Server) recordUse(ctx context.Context, w http.ResponseWriter, customer string, g *plan.Gate) {
	if g.Meter.Aggregate != plan.Count {
		w.Header().Set("X-Tidegate-Recorded", "false")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	use := events.Event{ID: rand.Text(), Source: "gateway", Type: g.Meter.Event, Subject: customer}
	err := s.publisher.Publish(ctx, []events.Event{use}, events.BatchToken)
	w.Header().Set("X-Tidegate-Recorded", strconv.FormatBool(err == nil))
	if err != nil && !errors.Is(err, context.Canceled) {
		s.counters.recordedLost.Inc()
		s.Log.Warn("use was not recorded in time", slog.Any("error", err))
	}
}
