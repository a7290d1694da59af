package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
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
	o, err := readOriginal(r)
	if err != nil {
		return refused(w, err, as403)
	}
	var few [4]*gate.Gate
	gates, err := s.triggered(few[:0], o)
	if err != nil {
		return refused(w, err, as403)
	}
	if len(gates) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if o.customer == "" {
		answer := gate.NoCustomer(gates[0].Feature)
		answer.Detail += " The gateway must set X-Customer-Id."
		return &problem{Status: answer.Status, Document: answer}
	}
	if err := validCustomer(o.customer); err != nil {
		return refused(w, err, as403)
	}
	for _, g := range gates {
		if d := s.Decisions.Check(o.customer, g.Feature); !d.Allowed {
			return denied(w, &d, as403)
		}
	}
	if record {
		s.recordUses(w, r, o.customer, gates)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// routes holds the triggers of a catalog.
type routes struct {
	of *gate.Catalog
	gate.Routes
}

// triggered appends the gates that a request meets, and returns an error for one
// whose path cannot be read.
func (s *Server) triggered(gates []*gate.Gate, o original) ([]*gate.Gate, error) {
	c, known := s.Catalog(), s.routes.Load()
	if known == nil || known.of != c {
		known = &routes{of: c, Routes: *gate.NewRoutes(c.Announced())}
		s.routes.Store(known)
	}
	var few [4]int
	met, err := known.Match(few[:0], o.method, o.target, "")
	if err != nil {
		answer := gate.Unreadable()
		return nil, &problem{Status: answer.Status, Document: answer}
	}
	for _, i := range met {
		gates = append(gates, &c.Gates[i])
	}
	return gates, nil
}

// denied returns the answer to a blocked request. Headers repeat the body, as
// nginx passes only headers on.
func denied(w http.ResponseWriter, d *events.Decision, as403 bool) error {
	h := w.Header()
	h.Set("X-Tidegate-Feature", headerText(d.Feature))
	h.Set("X-Tidegate-Reason", string(d.Reason))
	h.Set("X-Tidegate-Message", headerText(d.Message))
	h.Set("X-Tidegate-Upgrade-Url", headerText(d.UpgradeURL))
	if d.UnblocksAt != nil {
		h.Set("X-Tidegate-Unblocks-At", d.UnblocksAt.UTC().Format(time.RFC3339))
	}
	answer := gate.Blocked(d)
	return refused(w, &problem{Status: answer.Status, Retry: answer.RetryAfter, Document: answer}, as403)
}

// refused returns err as the gateway wants it. As 403, for a gateway that passes
// nothing else and no body on, headers hold the real status and document.
func refused(w http.ResponseWriter, err error, as403 bool) error {
	p := asProblem(err)
	if p == nil || !as403 {
		return err
	}
	w.Header().Set("X-Tidegate-Status", strconv.Itoa(p.Status))
	w.Header().Set("X-Tidegate-Problem", asciiJSON(p.body()))
	passed := *p
	passed.Status = http.StatusForbidden
	if answer, ok := p.Document.(gate.Answer); ok {
		answer.Status = passed.Status
		passed.Document = answer
	}
	return &passed
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

// recordUses records a use of each gate that counts. Only the app knows the values
// of other meters. If a use cannot be stored, the request passes all the same; the
// header, the log and a counter say so.
func (s *Server) recordUses(w http.ResponseWriter, r *http.Request, customer string, gates []*gate.Gate) {
	uses, all := make([]events.Event, 0, 1), true
	for _, g := range gates {
		if g.Meter.Aggregate != gate.Count {
			all = false
		} else if !slices.ContainsFunc(uses, func(e events.Event) bool { return e.Type == g.Meter.Event }) {
			uses = append(uses, events.Event{ID: rand.Text(), Source: "gateway", Type: g.Meter.Event, Subject: customer})
		}
	}
	if len(uses) > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), recordTimeout)
		defer cancel()
		u := s.bounds.key(callerOf(r).Name)
		err := s.admitCustomers(ctx, s.bounds.users, u, &u.users, customer)
		if err == nil {
			err = s.publisher.Publish(ctx, uses, events.BatchToken)
		}
		all = all && err == nil
		if err != nil && !errors.Is(err, context.Canceled) {
			s.counters.recordedLost.Add(len(uses))
			s.Log.Warn("use was not recorded in time", slog.Any("error", err))
		}
	}
	w.Header().Set("X-Tidegate-Recorded", strconv.FormatBool(all))
}
