package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// Bounds of webhooks: anyone can post here, and only the signed body shows who may.
const (
	maxWebhooks  = 128              // of one kind at a time
	webhookQueue = time.Second      // for one's turn
	refusalEvery = 10 * time.Second // between lines in the log
)

// bounded lets at most maxWebhooks requests in at a time. Others wait up to
// webhookQueue and are then refused; Stripe and Resend try again.
func (s *Server) bounded(next handler) handler {
	slots := make(chan struct{}, maxWebhooks)
	return func(w http.ResponseWriter, r *http.Request) error {
		turn, cancel := context.WithTimeout(r.Context(), webhookQueue)
		defer cancel()
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-turn.Done():
			return &problem{Status: http.StatusServiceUnavailable, Detail: "too many webhooks at once: send it again", Retry: 5}
		}
		return next(w, r)
	}
}

// stripeWebhook stores a verified webhook as it came. Stripe repeats a webhook for
// three days until it is answered with 2xx.
func (s *Server) stripeWebhook(w http.ResponseWriter, r *http.Request) error {
	if s.Verify == nil {
		return unavailable("no webhook secret is configured: set STRIPE_WEBHOOK_SECRET")
	}
	payload, free, err := readBody(w, r, maxWebhookBytes)
	if err != nil {
		return err
	}
	defer free()
	id, typ, err := s.Verify(payload, r.Header.Get("Stripe-Signature"))
	if err != nil {
		if n := s.refusals.count(time.Now()); n > 0 {
			s.Log.Warn("webhooks were refused", slog.Uint64("count", n), slog.Any("error", err))
		}
		return badRequest("the webhook is refused: %v", err)
	}
	m := nats.NewMsg(s.Names.Billing(string(fold.KindStripe)))
	m.Data = payload
	if id != "" { // it is Stripe's all the same: an error would bring it back for days
		m.Header.Set(jetstream.MsgIDHeader, fold.MessageID(id))
	}
	// Not the request's context: a verified webhook is stored even when the sender
	// has gone.
	if err := s.publish(context.WithoutCancel(r.Context()), m); err != nil {
		return err
	}
	s.Log.Debug("webhook was stored", slog.String("event", id), slog.String("type", typ))
	return writeJSON(w, http.StatusOK, map[string]bool{"received": true})
}

// throttledLog counts frequent events, so that a flood does not fill the log.
type throttledLog struct {
	unlogged atomic.Uint64
	next     atomic.Int64 // time of the next log line, in Unix nanoseconds
}

// count adds one. When it is time for a log line, it returns how many were not
// logged yet; else 0.
func (s *throttledLog) count(now time.Time) uint64 {
	s.unlogged.Add(1)
	next := s.next.Load()
	if now.UnixNano() < next || !s.next.CompareAndSwap(next, now.Add(refusalEvery).UnixNano()) {
		return 0
	}
	return s.unlogged.Swap(0)
}

func (s *Server) resendWebhook(w http.ResponseWriter, r *http.Request) error {
	if s.Resend == nil {
		return &problem{Status: http.StatusNotFound, Detail: "webhooks of the mail provider are not configured"}
	}
	status, err := s.Resend(w, r)
	if err != nil {
		p := &problem{Status: status, Detail: err.Error()}
		if status == http.StatusServiceUnavailable {
			p.Retry = 5
		}
		return p
	}
	w.WriteHeader(status)
	return nil
}
