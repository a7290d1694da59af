package notifier

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

// attempt is one attempt to send a mail.
type attempt struct {
	Mail
	first bool // no earlier attempt can have succeeded
}

// beginAttempt decides about a pending mail and stores the decision. It returns
// true when the mail is to be sent now; then its bytes and the attempt are stored.
func (p *Processor) beginAttempt(ctx context.Context, key string, s *situation) (a attempt, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now().UTC()
	var stop error
	var customer string
	waits := true
	err = p.updateOnce(ctx, key, func(n *records.Notification) bool {
		if !due(n, now) {
			return false
		}
		v := p.verdict(n, s, now)
		p.apply(n, &v, now)
		waits, customer = n.State == records.MailWaiting, n.Customer
		if v.do != actSend {
			return true
		}
		if n.Body == nil {
			if stop = p.write(n, s, now); stop != nil {
				return true
			}
		}
		if a.first = n.FirstTryAt == nil; a.first {
			n.FirstTryAt = &now
		}
		n.Attempts++
		next := now.Add(max(attemptTimeout, retryAfter(n.Attempts)))
		n.NextAt, n.Error = &next, ""
		a.Mail, ok = Mail{Key: n.Key, At: *n.FirstTryAt, Body: n.Body}, true
		return true
	})
	if err != nil {
		return attempt{}, false, err
	}
	if !waits {
		p.forgetWaiting(customer, key)
	}
	if stop != nil {
		p.log.Error("mail_not_rendered", "key", key, "error", stop, "fix", "correct the template and touch the configuration")
		return attempt{}, false, nil
	}
	return a, ok, nil
}

// brokenWait is the pause before another attempt with a mail that could not be
// rendered.
const brokenWait = 10 * time.Minute

// verdict completes the situation, under the lock, and judges it.
func (p *Processor) verdict(n *records.Notification, s *situation, now time.Time) verdict {
	catalog := p.Catalog()
	s.n, s.now, s.catalog, s.customer = n, now, &catalog, p.known(n.Customer)
	s.template = p.template(&catalog, n.Kind, n.Feature)
	s.awaited = slices.Contains(s.customer.Waiting, n.Key)
	if a := s.customer.address(); a != "" {
		s.address, s.lookupFailed = a, false // the address may have come since look
	}
	// Counted from the first verdict in this process: after a restart it is patient
	// again.
	since, seen := p.behind[n.Key]
	s.patient = !seen || now.Sub(since) < behindFor
	v := judge(s)
	switch {
	case v.do != actBehind:
		delete(p.behind, n.Key)
	case !seen:
		p.behind[n.Key] = now
	}
	return v
}

// apply writes a verdict into the document.
func (p *Processor) apply(n *records.Notification, v *verdict, now time.Time) {
	var at *time.Time
	if !v.at.IsZero() {
		utc := v.at.UTC()
		at = &utc
	}
	switch v.do {
	case actSend:
		n.State = records.MailPending
	case actLater:
		n.State, n.NextAt = records.MailPending, at
	case actBehind:
		n.NextAt = at
		time.AfterFunc(v.at.Sub(now), p.wake) // before the next poll
	case actWait:
		n.State, n.NextAt = records.MailWaiting, at
	case actCancel:
		cancel(n, v.why)
	case actFail:
		end(n, records.MailFailed, v.why)
		p.log.Warn("mail_failed", "key", n.Key, "error", v.why)
	}
}

// write renders the mail into the document. It puts off a mail that cannot be
// rendered, because the operator can correct the template.
func (p *Processor) write(n *records.Notification, s *situation, now time.Time) error {
	g, _ := s.catalog.Gate(n.Feature)
	msg, err := p.live.Load().render.message(s.template, g, n, s.decision, s.customer.Locale, s.address, now)
	var body []byte
	if err == nil {
		body, err = msg.encode()
	}
	if err != nil {
		next := now.Add(brokenWait)
		n.Error, n.NextAt = err.Error(), &next
		return err
	}
	n.To, n.Subject, n.Body = s.address, msg.Subject, body
	return nil
}

// storeOutcome stores the outcome of an attempt, with as many calls of the store as
// it takes. Without it the mail would be sent again, and only the provider's memory
// of the key would keep it from arriving twice.
func (p *Processor) storeOutcome(ctx context.Context, c *attempt, id string, sent error) error {
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		err := p.storeOutcomeOnce(ctx, c, id, sent)
		if err == nil || ctx.Err() != nil || store.IsRefused(err) {
			return err
		}
		p.log.Warn("store_retry", "what", "mark mail", "key", c.Key, "in", wait, "error", err)
		if !sleep(ctx, wait) {
			return err
		}
	}
}

func (p *Processor) storeOutcomeOnce(ctx context.Context, c *attempt, id string, sent error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now().UTC()
	var pay string
	err := p.updateOnce(ctx, c.Key, func(n *records.Notification) bool {
		if sent == nil {
			if n.SentAt != nil { // the provider's report was faster
				had := n.ProviderID
				n.ProviderID = orElse(had, id)
				return had == ""
			}
			// The mail may have been cancelled while it was sent.
			n.State, n.SentAt, n.ProviderID, n.Error, n.NextAt = records.MailSent, &now, id, "", nil
			pay = n.Customer
			return true
		}
		e := asSendError(sent)
		switch {
		case n.State == records.MailPending:
			p.applyRefusal(n, c, e, now)
		case n.State == records.MailUncertain && c.first && e.certain():
			n.State, n.FirstTryAt = records.MailCancelled, nil // certainly not sent
		default:
			return false
		}
		return true
	})
	if err != nil || pay == "" || len(p.known(pay).Payments) == 0 {
		return err
	}
	return p.attributeAgain(pay)
}

// applyRefusal writes into the document that the provider did not take the mail.
func (p *Processor) applyRefusal(n *records.Notification, c *attempt, e *SendError, now time.Time) {
	n.Error = e.Error()
	next := now.Add(max(retryAfter(n.Attempts), e.After))
	if c.first && e.certain() {
		n.FirstTryAt = nil // the provider does not know the key: its life has not begun
	}
	switch e.Class {
	case Permanent:
		end(n, records.MailFailed, n.Error)
		p.log.Error("mail_refused", "key", n.Key, "status", e.Status, "name", e.Name)
		return
	case Park:
		p.pause = pause{until: now.Add(pauseFor(e)), reason: e.Error()}
		next = p.pause.until
		p.park(n.Key)
		p.log.Error("mail_parked", "key", n.Key, "status", e.Status, "name", e.Name, "until", next, "fix", fix(e))
	default:
		p.log.Warn("mail_retry", "key", n.Key, "attempt", n.Attempts, "at", next, "status", e.Status, "name", e.Name)
	}
	if e.Class == Retry && e.Status == http.StatusTooManyRequests && e.After > 0 {
		// The rate is that of all mails. A provider can stop them for parkQuota at most.
		p.pause = pause{until: now.Add(min(e.After, parkQuota)), reason: e.Error()}
	}
	n.NextAt = &next
	if e.Class == Retry && n.FirstTryAt != nil && !next.Before(n.FirstTryAt.Add(keyLife)) {
		end(n, records.MailFailed, "given up after 24 h: "+n.Error)
	}
}

// fix returns what an operator can do about a refusal of all mail.
func fix(e *SendError) string {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return "the quota is used up: raise it at the provider, or wait"
	case errors.Is(e, context.DeadlineExceeded):
		return "the provider does not answer"
	}
	return "check RESEND_API_KEY and that the domain of `from` is verified at the provider"
}
