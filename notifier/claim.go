package notifier

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// claim is a try of a mail.
type claim struct {
	Mail
	first bool // no earlier one can have gone out
}

// claim decides about a pending mail, and stores the decision. When it is to be
// sent now, its bytes and the try are stored before it returns.
func (p *Processor) claim(ctx context.Context, key string, s *situation) (c claim, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now().UTC()
	var stop error
	var customer string
	waits := true
	err = p.change1(ctx, key, func(n *records.Notification) bool {
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
		if c.first = n.FirstTryAt == nil; c.first {
			n.FirstTryAt = &now
		}
		n.Attempts++
		next := now.Add(max(claimed, retryAfter(n.Attempts)))
		n.NextAt, n.Error = &next, ""
		c.Mail, ok = Mail{Key: n.Key, At: *n.FirstTryAt, Body: n.Body}, true
		return true
	})
	if err != nil {
		return claim{}, false, err
	}
	if !waits {
		p.forgetWaiting(customer, key)
	}
	if stop != nil {
		p.log.Error("mail_not_rendered", "key", key, "error", stop, "fix", "correct the template and touch the configuration")
		return claim{}, false, nil
	}
	return c, ok, nil
}

// brokenWait is when a mail that could not be rendered is tried again.
const brokenWait = 10 * time.Minute

func (p *Processor) verdict(n *records.Notification, s *situation, now time.Time) verdict {
	catalog := p.Catalog()
	s.n, s.now, s.catalog, s.customer = n, now, &catalog, p.known(n.Customer)
	s.template = p.template(&catalog, n.Kind, n.Feature)
	s.waits = slices.Contains(s.customer.Waiting, n.Key)
	if a := s.customer.address(); a != "" {
		s.address, s.blind = a, false // it may have changed since the look
	}
	// Counted from the first look, by this process: a restart is patient again.
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
		time.AfterFunc(v.at.Sub(now), p.wake) // sooner than the next poll
	case actWait:
		n.State, n.NextAt = records.MailWaiting, at
	case actCancel:
		cancel(n, v.why)
	case actFail:
		end(n, records.MailFailed, v.why)
		p.log.Warn("mail_failed", "key", n.Key, "error", v.why)
	}
}

// write renders the mail into the document. One that can't be rendered is put
// off: the operator can correct the template.
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

// settle stores what came of a try, and tries until that is stored: a mail that
// is not marked would be sent again, and only the provider's memory of its key
// would keep it from arriving twice.
func (p *Processor) settle(ctx context.Context, c *claim, id string, sent error) error {
	for wait := firstBackoff; ; wait = min(2*wait, lastBackoff) {
		err := p.settleOnce(ctx, c, id, sent)
		if err == nil || ctx.Err() != nil {
			return err
		}
		p.log.Warn("store_retry", "what", "mark mail", "key", c.Key, "in", wait, "error", err)
		if !sleep(ctx, wait) {
			return err
		}
	}
}

func (p *Processor) settleOnce(ctx context.Context, c *claim, id string, sent error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now().UTC()
	var pay string
	err := p.change1(ctx, c.Key, func(n *records.Notification) bool {
		if sent == nil {
			if n.SentAt != nil { // the provider's report was faster
				had := n.ProviderID
				n.ProviderID = orElse(had, id)
				return had == ""
			}
			// Also when it was cancelled while it went out.
			n.State, n.SentAt, n.ProviderID, n.Error, n.NextAt = records.MailSent, &now, id, "", nil
			pay = n.Customer
			return true
		}
		e := asSendError(sent)
		switch {
		case n.State == records.MailPending:
			p.refused(n, c, e, now)
		case n.State == records.MailUncertain && c.first && e.certain():
			n.State, n.FirstTryAt = records.MailCancelled, nil // now it is known
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

// refused writes into the document that the provider did not take it.
func (p *Processor) refused(n *records.Notification, c *claim, e *SendError, now time.Time) {
	n.Error = e.Error()
	next := now.Add(max(retryAfter(n.Attempts), e.After))
	if c.first && e.certain() {
		n.FirstTryAt = nil // no try can have gone out: the key's life has not begun
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
		// It holds for every mail. How long a provider may stop us is bounded.
		p.pause = pause{until: now.Add(min(e.After, parkQuota)), reason: e.Error()}
	}
	n.NextAt = &next
	if e.Class == Retry && n.FirstTryAt != nil && !next.Before(n.FirstTryAt.Add(keyLife)) {
		end(n, records.MailFailed, "given up after 24 h: "+n.Error)
	}
}

// fix says what an operator can do.
func fix(e *SendError) string {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return "the quota is used up: raise it at the provider, or wait"
	case errors.Is(e, context.DeadlineExceeded):
		return "the provider does not answer"
	}
	return "check RESEND_API_KEY and that the domain of `from` is verified at the provider"
}
