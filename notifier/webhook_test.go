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

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/records"
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
		Publish: func(_ context.Context, a *records.Account) error {
			return b.p.Handle(b.message(inputAccount, a))
		},
	}
}

// answered has h receive r, and returns the status. Refusals say why.
func answered(t testing.TB, h *ResendWebhook, r *http.Request) int {
	t.Helper()
	status, err := h.Receive(httptest.NewRecorder(), r)
	if (err == nil) != (status == http.StatusNoContent) {
		t.Errorf("status %d, error %v", status, err)
	}
	return status
}

func TestReports(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		typ, more  string
		state      records.MailState
		why        string
		suppressed string
	}{
		"sent":         {"email.sent", "", records.MailSent, "", ""},
		"delivered":    {"email.delivered", "", records.MailDelivered, "", ""},
		"bounced":      {"email.bounced", `,"bounce":{"type":"Permanent","message":"no such user"}`, records.MailBounced, "no such user", "bounced"},
		"full mailbox": {"email.bounced", `,"bounce":{"type":"Transient","message":"full"}`, records.MailBounced, "full", ""},
		"complained":   {"email.complained", "", records.MailComplained, "", "complained"},
		"suppressed":   {"email.suppressed", `,"suppressed":{"message":"bounced before","type":"OnAccountSuppressionList"}`, records.MailSuppressed, "bounced before", "on the provider's suppression list"},
		"failed":       {"email.failed", `,"failed":{"reason":"reached_daily_quota"}`, records.MailFailed, "reached_daily_quota", ""},
		"opened":       {"email.opened", "", records.MailSent, "", ""},
		"delayed":      {"email.delivery_delayed", "", records.MailSent, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.address()
			key := b.reach("api")
			b.untilState(key, records.MailSent)
			for range 2 { // it may come twice
				if status := answered(t, b.hook(), signed(event(c.typ, key, c.more), time.Now())); status != http.StatusNoContent {
					t.Fatal(status)
				}
			}
			n := b.notification(key)
			if n.State != c.state || n.Error != c.why || b.p.known("acme").Suppressed != c.suppressed || n.ProviderID != "re_1" {
				t.Errorf("%s, %q, suppressed %q", n.State, n.Error, b.p.known("acme").Suppressed)
			}
			if delivered := at(n.DeliveredAt); (c.state == records.MailDelivered || c.state == records.MailComplained) != delivered.Equal(noon.Add(time.Hour)) {
				t.Errorf("delivered at %v", delivered)
			}
		})
	}
}

// A repeat says nothing new: one that comes hours later does not undo that an
// operator let mail through again.
func TestRepeatedReport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	key := b.reach("api")
	b.untilState(key, records.MailSent)
	bounced := event("email.bounced", key, `,"bounce":{"type":"Permanent","message":"no such user"}`)
	answered(t, b.hook(), signed(bounced, time.Now()))
	b.account(records.Account{Suppress: new("")})
	status := answered(t, b.hook(), signed(bounced, time.Now()))
	if why := b.p.known("acme").Suppressed; why != "" || status != http.StatusNoContent {
		t.Errorf("suppressed %q, %d", why, status)
	}
}

// Reports come in any order, and more than once.
func TestReportsInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kinds := []records.MailEvent{records.MailEventSent, records.MailEventFailed, records.MailEventSuppressed,
			records.MailEventDelivered, records.MailEventBounced, records.MailEventComplained}
		reports := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) records.MailReport {
			e := rapid.SampledFrom(kinds).Draw(t, "event")
			return records.MailReport{Event: e, Detail: string(e), At: noon.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "s")) * time.Second)}
		}), 1, 8).Draw(t, "reports")
		begin := records.Notification{State: rapid.SampledFrom([]records.MailState{records.MailPending, records.MailUncertain, records.MailCancelled, records.MailFailed}).Draw(t, "state")}
		told := func(order []records.MailReport) string {
			n := begin
			for i := range order {
				mergeReport(&n, &order[i])
			}
			if again := n; mergeReport(&again, &order[0]) {
				t.Fatalf("a repeat changes %+v", n)
			}
			return fmt.Sprint(n.State, n.Error, at(n.SentAt), at(n.DeliveredAt))
		}
		want := told(reports)
		if got := told(rapid.Permutation(reports).Draw(t, "order")); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

// What nobody knew is settled by the provider's report.
func TestReportSettlesWhatIsUncertain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.after = cut
	key := b.reach("api")
	b.until(key, "tried", func(n *records.Notification) bool { return n.Error != "" })
	b.allow("api")
	b.account(records.Account{Payment: payment(noon.Add(2 * time.Hour))})
	b.advance(time.Hour)
	b.untilState(key, records.MailUncertain)
	if c, _ := b.conversion("acme/sub_1"); c.MailedAt != nil {
		t.Errorf("conversion %+v", c)
	}
	answered(t, b.hook(), signed(event("email.sent", key, ""), time.Now()))
	if n := b.notification(key); n.State != records.MailSent || !at(n.SentAt).Equal(noon.Add(time.Hour)) || n.Error != "" {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	if c, _ := b.conversion("acme/sub_1"); !at(c.MailedAt).Equal(noon.Add(time.Hour)) {
		t.Errorf("conversion %+v", c)
	}
}

// The report may come before the answer, or instead of it.
func TestReportInsteadOfAnAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.after = cut
	key := b.reach("api")
	b.until(key, "tried", func(n *records.Notification) bool { return n.Error != "" })
	status := answered(t, b.hook(), signed(event("email.delivered", key, ""), time.Now()))
	if n := b.notification(key); n.State != records.MailDelivered || n.SentAt == nil || n.NextAt != nil || n.Error != "" {
		t.Errorf("%s: %d", n.State, status)
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
		"changed":      {changed, http.StatusBadRequest},
		"old":          {signed(good, time.Now().Add(-10*time.Minute)), http.StatusBadRequest},
		"from ahead":   {signed(good, time.Now().Add(10*time.Minute)), http.StatusBadRequest},
		"not signed":   {httptest.NewRequest(http.MethodPost, "/", strings.NewReader(good)), http.StatusBadRequest},
		"no JSON":      {signed("{", time.Now()), http.StatusBadRequest},
		"too long":     {signed(strings.Repeat(" ", maxWebhook+1), time.Now()), http.StatusBadRequest},
	} {
		if status := answered(t, b.hook(), c.r); status != c.want {
			t.Errorf("%s: %d, want %d", name, status, c.want)
		}
	}
	none := signed(good, time.Now())
	none.Header.Set("svix-signature", "v1,")
	for name, c := range map[string]struct {
		h    *ResendWebhook
		r    *http.Request
		want int
	}{
		"empty signature": {b.hook(), none, http.StatusBadRequest},
		"no secret":       {&ResendWebhook{Log: slog.New(slog.DiscardHandler)}, signed(good, time.Now()), http.StatusBadRequest},
	} {
		if status := answered(t, c.h, c.r); status != c.want {
			t.Errorf("%s: %d, want %d", name, status, c.want)
		}
	}
	if len(b.store.notifications) != 0 {
		t.Error("something was stored")
	}
	b.store.breakWith(func(string) error { return errAway })
	if status := answered(t, b.hook(), signed(good, time.Now())); status != http.StatusServiceUnavailable {
		t.Errorf("store away: %d", status)
	}
	b.store.breakWith(nil)
}

// Whatever a well-signed body holds, nothing panics, and only what names one of
// our mails is published.
func FuzzWebhook(f *testing.F) {
	for _, body := range []string{`null`, `[]`, `{"data":null}`, `{"data":{"tags":null}}`, `{"type":7}`, `{"created_at":"x"}`, `{"type":"email.sent","data":{"tags":{"tidegate_key":"limit-reached_1"}}}`,
		`{"type":"email.bounced","data":{"bounce":[],"tags":[{"name":"tidegate_key","value":"k"}]}}`, event("email.bounced", "k", `,"bounce":{"type":"Permanent","message":"\ud800"}`)} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		published := false
		h := &ResendWebhook{Secrets: []string{hookSecret}, Log: slog.New(slog.DiscardHandler),
			Find: func(_ context.Context, key string) (records.Notification, bool, error) {
				return records.Notification{Key: key, Customer: "acme", State: records.MailPending}, key == "k", nil
			},
			Publish: func(_ context.Context, a *records.Account) error {
				published = true
				if a.Mail == nil || a.Mail.Key != "k" || a.Mail.At.IsZero() || len(a.Mail.Detail) > maxDetail {
					t.Errorf("published %+v", a)
				}
				return nil
			}}
		if status := answered(t, h, signed(body, time.Now())); published && status != http.StatusNoContent || status >= 500 {
			t.Errorf("%d", status)
		}
	})
}
