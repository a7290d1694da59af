package notifier

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/link"
	"github.com/tidegate-io/tidegate/internal/records"
)

func TestMailGoesOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	key := b.reach("api")
	n := b.untilState(key, records.MailSent)
	if n.ProviderID != "re_1" || n.To != "ada@acme.example" || n.SentAt == nil || n.Attempts != 1 || n.Error != "" || n.NextAt != nil {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	m, r := b.resend.inbox[0], b.resend.requests[0]
	if r.key != key || r.auth != "Bearer re_test" || strings.TrimSpace(r.body) != string(n.Body) {
		t.Errorf("request %+v\nbody %s", r, n.Body)
	}
	if m.To[0] != "ada@acme.example" || m.From != "Acme <billing@acme.example>" || m.Subject != "You've reached your api limit on the free plan" {
		t.Errorf("mail %+v", m)
	}
	for _, part := range []string{m.HTML, m.Text} {
		for _, want := range []string{"The free calls are used up.", "100 of 100", "30 March 2026", "https://gate.acme.example/u/"} {
			if !strings.Contains(part, want) {
				t.Errorf("%q is not in\n%s", want, part)
			}
		}
	}
	unsubscribe := strings.Trim(m.Headers["List-Unsubscribe"], "<>")
	l, err := link.Parse([][]byte{[]byte("secret")}, strings.TrimPrefix(unsubscribe, "https://gate.acme.example/unsubscribe/"), noon)
	if err != nil || l.Kind != link.Unsubscribe || l.Customer != "acme" || m.Headers["List-Unsubscribe-Post"] != "List-Unsubscribe=One-Click" {
		t.Errorf("headers %v: %+v, %v", m.Headers, l, err)
	}
}

// Repeats of a record, in the same process or the next, send nothing.
func TestOneCrossingOneMail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	key := b.reach("api")
	b.untilState(key, records.MailSent)
	b.reach("api")
	b.restart() // nothing was committed: all records come again
	b.address()
	b.reach("api")
	b.quiet()
	b.advance(48 * time.Hour)
	b.reach("api")
	b.quiet()
	if requests, mails := b.resend.counts(); requests != 1 || mails != 1 {
		t.Errorf("%d requests, %d mails", requests, mails)
	}
}

// The process dies after the provider took the mail and before that is stored.
func TestCrashBetweenSendAndMark(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.store.breakWith(func(call string) error {
		if call == "update sent" {
			return errAway
		}
		return nil
	})
	key := b.reach("api")
	<-b.resend.got
	n := b.until(key, "tried", func(n *records.Notification) bool { return n.Attempts == 1 })
	if n.State != records.MailPending || len(n.Body) == 0 {
		n.Body = nil
		t.Fatalf("before the crash: %+v", n)
	}
	b.commit()
	b.halt()
	b.store.breakWith(nil)
	b.start()
	b.quiet()
	if requests, _ := b.resend.counts(); requests != 1 {
		t.Fatalf("%d requests while the first may be under way", requests)
	}
	// What the mail would say has changed: the bytes must not.
	b.account(records.Account{Email: new("bob@acme.example"), Locale: new("de")})
	b.advance(10 * time.Minute)
	n = b.untilState(key, records.MailSent)
	requests, mails := b.resend.counts()
	if requests != 2 || mails != 1 || b.resend.requests[0] != b.resend.requests[1] {
		t.Errorf("%d requests, %d mails\n%+v", requests, mails, b.resend.requests)
	}
	if n.ProviderID != "re_1" || n.To != "ada@acme.example" {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
}

// Down for longer than the key is remembered: another try could be a second mail.
func TestCrashForLongerThanTheKeyLives(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.store.breakWith(func(call string) error {
		if call == "update sent" {
			return errAway
		}
		return nil
	})
	key := b.reach("api")
	<-b.resend.got
	b.commit()
	b.halt()
	b.store.breakWith(nil)
	b.now = b.now.Add(25 * time.Hour)
	b.start()
	n := b.untilState(key, records.MailUncertain)
	if requests, mails := b.resend.counts(); requests != 1 || mails != 1 {
		t.Errorf("%d requests, %d mails", requests, mails)
	}
	if !strings.Contains(n.Error, "24 h") {
		t.Errorf("error %q", n.Error)
	}
}

// The provider took it and the answer was lost, again and again.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.mu.Lock()
	b.resend.after = cut
	b.resend.mu.Unlock()
	key := b.reach("api")
	for try := 1; try <= 5; try++ {
		b.until(key, "tried", func(n *records.Notification) bool { return n.Attempts == try && n.Error != "" })
		if try == 5 {
			b.resend.mu.Lock()
			b.resend.after = nil
			b.resend.mu.Unlock()
		}
		b.advance(time.Hour)
	}
	b.untilState(key, records.MailSent)
	requests, mails := b.resend.counts()
	if requests != 6 || mails != 1 {
		t.Errorf("%d requests, %d mails", requests, mails)
	}
	for _, r := range b.resend.requests {
		if r != b.resend.requests[0] {
			t.Errorf("another request: %+v", r)
		}
	}
}

func TestGivenUpWithinTheKeysLife(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.always(500, "internal_server_error")
	key := b.reach("api")
	for try := 1; b.notification(key).State != records.MailUncertain; try++ {
		n := b.until(key, "tried", func(n *records.Notification) bool {
			return n.Attempts == try && n.Error != "" || n.State == records.MailUncertain
		})
		if n.State == records.MailUncertain {
			break
		}
		if wait := n.NextAt.Sub(b.clock()); wait < retryAfter(try) {
			t.Fatalf("try %d: again after %v", try, wait)
		}
		b.advance(n.NextAt.Sub(b.clock()))
	}
	n := b.notification(key)
	if spent := b.clock().Sub(*n.FirstTryAt); spent >= 24*time.Hour || spent < 20*time.Hour {
		t.Errorf("given up after %v", spent)
	}
	if !strings.Contains(n.Error, "internal_server_error (500)") {
		t.Errorf("error %q", n.Error)
	}
}

func TestPermanentRefusal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.always(422, "validation_error")
	n := b.untilState(b.reach("api"), records.MailFailed)
	if !strings.Contains(n.Error, "validation_error") || n.Attempts != 1 {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	b.resend.always(0, "")
	b.untilState(b.reach("exports"), records.MailSent) // others are not concerned
}

func TestRateLimitIsObeyed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.always(429, "rate_limit_exceeded", "retry-after", "600")
	key := b.reach("api")
	n := b.until(key, "refused", func(n *records.Notification) bool { return n.Error != "" })
	if n.State != records.MailPending || n.NextAt.Sub(b.clock()) != 10*time.Minute || n.FirstTryAt != nil {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	b.resend.always(0, "")
	b.advance(10 * time.Minute)
	b.untilState(key, records.MailSent)
}

// A full quota, or a key that is not accepted, stops all mail; later, or with
// the next start, it goes out.
func TestParked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		name   string
		wake   func(b *bench)
	}{
		"quota":             {429, "daily_quota_exceeded", func(b *bench) { b.advance(parkQuota) }},
		"key":               {401, "invalid_api_key", func(b *bench) { b.advance(parkOther) }},
		"domain":            {403, "validation_error", func(b *bench) { b.advance(parkOther) }},
		"key and a restart": {401, "invalid_api_key", func(b *bench) { b.commit(); b.restart() }},
		"for longer than the key lives": {401, "invalid_api_key", func(b *bench) {
			b.commit()
			b.advance(49 * time.Hour)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.address()
			b.resend.always(c.status, c.name)
			first := b.reach("api")
			b.until(first, "refused", func(n *records.Notification) bool { return n.Error != "" })
			second := b.reach("exports")
			if n := b.notification(first); n.State != records.MailPending {
				t.Errorf("%s before its key is committed", n.State)
			}
			b.commit()
			b.commit()
			_, err := b.p.Tick(b.clock())
			b.must(err)
			if n := b.notification(first); n.State != records.MailParked || !strings.Contains(n.Error, c.name) {
				n.Body = nil
				t.Errorf("document %+v", n)
			}
			if requests, _ := b.resend.counts(); requests != 1 {
				t.Errorf("%d requests", requests)
			}
			b.resend.always(0, "")
			c.wake(b)
			b.untilState(second, records.MailSent)
			b.advance(2 * parkTail)
			b.untilState(first, records.MailSent)
			if _, mails := b.resend.counts(); mails != 2 {
				t.Errorf("%d mails", mails)
			}
		})
	}
}
