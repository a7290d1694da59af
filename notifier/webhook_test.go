package notifier

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

const hookSecret = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="

// signed is a webhook as Resend sends it.
func signed(body string, at time.Time) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhooks/resend", strings.NewReader(body))
	stamp := fmt.Sprint(at.Unix())
	secret, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(hookSecret, "whsec_"))
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "msg_1.%s.%s", stamp, body)
	r.Header.Set("svix-id", "msg_1")
	r.Header.Set("svix-timestamp", stamp)
	r.Header.Set("svix-signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	return r
}

func event(typ, key, more string) string {
	return fmt.Sprintf(`{"type":%q,"created_at":"2026-03-01T13:00:00.000Z","data":{"email_id":"re_1","to":["ada@acme.example"],"tags":{"tidegate_key":%q}%s}}`,
		typ, strings.Replace(key, "/", "_", 1), more)
}

// hook is a webhook handler that tells b's notifier.
func (b *bench) hook() *ResendWebhook {
	return &ResendWebhook{
		Secrets: []string{"whsec_b3RoZXI=", hookSecret}, Log: slog.New(slog.DiscardHandler),
		Find: b.store.Notification,
		Publish: func(_ context.Context, id string, a *events.Account) error {
			if id != "msg_1" {
				return fmt.Errorf("id %q", id)
			}
			return b.p.Handle(b.message(inputAccount, a))
		},
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		typ, more  string
		state      events.MailState
		why        string
		suppressed string
	}{
		"delivered":    {"email.delivered", "", events.MailDelivered, "", ""},
		"bounced":      {"email.bounced", `,"bounce":{"type":"Permanent","message":"no such user"}`, events.MailSent, "bounced: no such user", "bounced"},
		"full mailbox": {"email.bounced", `,"bounce":{"type":"Transient","message":"full"}`, events.MailSent, "bounced: full", ""},
		"complained":   {"email.complained", "", events.MailSent, "complained", "complained"},
		"opened":       {"email.opened", "", events.MailSent, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.address()
			key := b.reach("api")
			b.untilState(key, events.MailSent)
			for range 2 { // it may come twice
				w := httptest.NewRecorder()
				b.hook().ServeHTTP(w, signed(event(c.typ, key, c.more), time.Now()))
				if w.Code != http.StatusNoContent {
					t.Fatalf("%d: %s", w.Code, w.Body)
				}
			}
			n := b.notification(key)
			if n.State != c.state || n.Error != c.why || b.p.known("acme").Suppressed != c.suppressed || n.ProviderID != "re_1" {
				t.Errorf("%s, %q, suppressed %q", n.State, n.Error, b.p.known("acme").Suppressed)
			}
			if delivered := at(n.DeliveredAt); (c.state == events.MailDelivered) != delivered.Equal(noon.Add(time.Hour)) {
				t.Errorf("delivered at %v", delivered)
			}
		})
	}
}

// The report may come before the answer, or instead of it.
func TestReportInsteadOfAnAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.after = cut
	key := b.reach("api")
	b.until(key, "tried", func(n *events.Notification) bool { return n.Error != "" })
	w := httptest.NewRecorder()
	b.hook().ServeHTTP(w, signed(event("email.delivered", key, ""), time.Now()))
	if n := b.notification(key); n.State != events.MailDelivered || n.SentAt == nil || n.NextAt != nil || n.Error != "" {
		t.Errorf("%s: %+v", n.State, w)
	}
	b.advance(time.Hour)
	b.quiet()
	if requests, mails := b.resend.counts(); requests != 1 || mails != 1 {
		t.Errorf("%d requests, %d mails", requests, mails)
	}
}

func TestWebhookRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := event("email.delivered", "limit-reached/1", "")
	changed := signed(good, time.Now())
	changed.Body = http.NoBody
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"not ours":     {signed(good, time.Now()), http.StatusNoContent},
		"without tags": {signed(`{"type":"email.delivered","data":{"tags":[]}}`, time.Now()), http.StatusNoContent},
		"tags listed":  {signed(`{"type":"email.delivered","data":{"tags":[{"name":"tidegate_key","value":"limit-reached_1"}]}}`, time.Now()), http.StatusNoContent},
		"changed":      {changed, http.StatusUnauthorized},
		"old":          {signed(good, time.Now().Add(-10*time.Minute)), http.StatusUnauthorized},
		"from ahead":   {signed(good, time.Now().Add(10*time.Minute)), http.StatusUnauthorized},
		"not signed":   {httptest.NewRequest(http.MethodPost, "/", strings.NewReader(good)), http.StatusUnauthorized},
		"no JSON":      {signed("{", time.Now()), http.StatusBadRequest},
		"too long":     {signed(strings.Repeat(" ", maxWebhook+1), time.Now()), http.StatusBadRequest},
	} {
		w := httptest.NewRecorder()
		b.hook().ServeHTTP(w, c.r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
	}
	b.store.breakWith(func(string) error { return errAway })
	w := httptest.NewRecorder()
	b.hook().ServeHTTP(w, signed(good, time.Now()))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("store away: %d", w.Code)
	}
	b.store.breakWith(nil)
}
