package ingest

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stripeWebhook stores a verified webhook as it came. Stripe repeats what is
// not answered with 2xx for three days, which is the retry.
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
		s.Log.Warn("webhook was refused", slog.Any("error", err))
		return badRequest("the webhook's signature or form is wrong: %v", err)
	}
	m := nats.NewMsg(s.Names.Subject("billing.stripe"))
	m.Data = payload
	if id != "" { // it is Stripe's all the same: an error would bring it back for days
		m.Header.Set(jetstream.MsgIDHeader, "stripe/"+id)
	}
	// Not the request's context: what was verified is worth storing even when
	// the sender has gone.
	if err := s.publish(context.WithoutCancel(r.Context()), m); err != nil {
		return err
	}
	s.Log.Debug("webhook was stored", slog.String("event", id), slog.String("type", typ))
	return writeJSON(w, http.StatusOK, map[string]bool{"received": true})
}

func (s *Server) resendWebhook(w http.ResponseWriter, r *http.Request) error {
	if s.Resend == nil {
		return &problem{Status: http.StatusNotFound, Detail: "webhooks of the mail provider are not configured"}
	}
	s.Resend.ServeHTTP(w, r)
	return nil
}
