package notifier

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// What changes between the crossing and the sending is looked at when it is sent.
func TestCancelledAtTheMomentOfSending(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(b *bench)
		want   string
	}{
		"paid": {func(b *bench) { b.allow("api") }, "no longer blocked"},
		"paid, before the decision follows": {func(b *bench) {
			b.account(records.Account{Subscription: &records.PlanState{Plan: "pro", Paid: true, Position: 3}})
		}, "upgraded to pro"},
		"unsubscribed": {func(b *bench) { b.account(records.Account{Suppress: new("unsubscribed")}) }, "suppressed: unsubscribed"},
		"unblocked": {func(b *bench) {
			l := b.reached("api")
			l.Kind, l.At = records.LimitKindUnblocked, b.clock().Add(time.Second)
			b.handle(inputLimits, l)
		}, "unblocked"},
		"erased": {func(b *bench) { b.account(records.Account{Erase: true}) }, "erased"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// After a refusal it is sure that nothing went out; after an error it is not.
			for answer, state := range map[int]records.MailState{429: records.MailCancelled, 503: records.MailUncertain} {
				b := newBench(t)
				b.address()
				b.resend.always(answer, "")
				key := b.reach("api")
				b.until(key, "refused", func(n *records.Notification) bool { return n.Error != "" })
				b.resend.always(0, "")
				c.change(b)
				b.advance(time.Hour)
				n := b.untilState(key, state)
				if !strings.Contains(n.Error, c.want) {
					t.Errorf("error %q, want %q", n.Error, c.want)
				}
				if _, mails := b.resend.counts(); mails != 0 {
					t.Errorf("%d mails", mails)
				}
			}
		})
	}
}

// The record may overtake the decision that it is about.
func TestDecisionIsBehind(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.allow("api") // from before
	b.advance(time.Minute)
	l := b.reached("api")
	b.handle(inputLimits, l)
	key := Key(l.Kind, 100, "acme", "api", l.WindowStart)
	b.until(key, "put off", func(n *records.Notification) bool { return n.NextAt != nil })
	b.block("api")
	b.advance(behindWait)
	b.untilState(key, records.MailSent)

	l = b.reached("exports") // no decision at all, ever
	b.handle(inputLimits, l)
	key = Key(l.Kind, 100, "acme", "exports", l.WindowStart)
	b.until(key, "put off", func(n *records.Notification) bool { return n.NextAt != nil })
	b.advance(behindFor)
	b.untilState(key, records.MailCancelled)
}

func TestCoolDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.CoolDown = 24 * time.Hour })
	b.address()
	b.untilState(b.reach("api"), records.MailSent)
	b.advance(time.Hour)
	second := b.reach("exports")
	n := b.until(second, "put off", func(n *records.Notification) bool { return n.NextAt != nil })
	if n.Attempts != 0 || !n.NextAt.Equal(noon.Add(24*time.Hour)) {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	b.advance(23 * time.Hour)
	b.untilState(second, records.MailSent)
}

func TestStoreAwayWhileMarking(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	failures := 0
	b.store.breakWith(func(call string) error {
		if call == "update sent" && failures < 3 {
			failures++
			return errAway
		}
		return nil
	})
	b.untilState(b.reach("api"), records.MailSent)
	if requests, mails := b.resend.counts(); requests != 1 || mails != 1 || failures != 3 {
		t.Errorf("%d requests, %d mails, %d failures", requests, mails, failures)
	}
}

// Cancelled while the provider takes it, or does not: the document tells the
// truth as soon as it is known.
func TestUnsubscribedWhileItIsSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(p *provider)
		state  records.MailState
		id     string
	}{
		"taken":   {func(*provider) {}, records.MailSent, "re_1"},
		"refused": {func(p *provider) { p.always(422, "validation_error") }, records.MailCancelled, ""},
		"cut":     {func(p *provider) { p.after = cut }, records.MailUncertain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.address()
			arrived, resume := b.resend.hold()
			key := b.reach("api")
			<-arrived
			b.account(records.Account{Suppress: new("unsubscribed")})
			if n := b.notification(key); n.State != records.MailUncertain {
				t.Errorf("state %s", n.State)
			}
			c.answer(b.resend)
			close(resume)
			<-b.resend.got
			n := b.untilState(key, c.state)
			b.quiet()
			if n.ProviderID != c.id || (n.State == records.MailCancelled) != (n.FirstTryAt == nil) {
				n.Body = nil
				t.Errorf("document %+v", n)
			}
		})
	}
}

// Parked mail that can't be resumed, because the store is away, is resumed later.
func TestStoreAwayWhileResuming(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.resend.always(401, "invalid_api_key")
	key := b.reach("api")
	b.until(key, "refused", func(n *records.Notification) bool { return n.Error != "" })
	b.commit()
	b.commit()
	_, err := b.p.Tick(b.clock())
	b.must(err)
	b.resend.always(0, "")
	failed := make(chan struct{}, 1)
	b.store.breakWith(func(call string) error {
		if call != "update pending" {
			return nil
		}
		select {
		case failed <- struct{}{}:
		default:
		}
		return errAway
	})
	b.advance(parkOther)
	<-failed
	b.store.breakWith(nil)
	b.advance(time.Minute)
	b.until(key, "resumed", func(n *records.Notification) bool { return n.State == records.MailPending })
	b.advance(parkTail)
	b.untilState(key, records.MailSent)
}
