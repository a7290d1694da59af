package notifier

import (
	"context"
	"time"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

const (
	dueAtOnce       = 50
	decisionTimeout = 5 * time.Second
	sendTimeout     = time.Minute
	// attemptTimeout is how long a mail that is being sent is not due: longer than an
	// attempt can take.
	attemptTimeout = 90 * time.Second
)

// sendAll sends the due mails until ctx is done.
func (p *Processor) sendAll(ctx context.Context) {
	// The operator may have restarted the process because of parked mails.
	p.apart("resume mails", func() time.Duration { p.resume(ctx); return 0 })
	for wait := time.Duration(0); ; {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-p.woken:
			t.Stop()
		case <-t.C:
		}
		wait = p.apart("send mails", func() time.Duration { return p.round(ctx) })
	}
}

// apart calls f. If f panics, sending goes on after a pause.
func (p *Processor) apart(doing string, f func() time.Duration) time.Duration {
	wait, err := guard.Value(func() (time.Duration, error) { return f(), nil })
	if err != nil {
		p.report.Failed(doing, err)
		return p.PollEvery
	}
	return wait
}

// round sends the due mails and returns the pause until the next round.
func (p *Processor) round(ctx context.Context) time.Duration {
	now := p.Now()
	p.mu.Lock()
	stopped := p.pause
	p.mu.Unlock()
	if left := stopped.until.Sub(now); left > 0 {
		return min(left, p.PollEvery) // the clock may be changed meanwhile
	}
	if stopped.reason != "" {
		p.resume(ctx)
	}
	if p.lookAgain.Swap(false) && !p.seekAddresses(ctx) {
		p.lookAgain.Store(true)
		return p.PollEvery
	}
	due, err := p.Store.DueNotifications(ctx, now, dueAtOnce+len(p.setbacks))
	if err != nil {
		p.setbacks = nil // it was the store, and no mail
		if !ended(ctx, err) {
			p.log.Warn("due_mails_not_read", "error", err)
		}
		return p.PollEvery
	}
	for i := range due {
		if p.setbacks.holds(due[i].Key, now) {
			continue
		}
		if err := p.deliverApart(ctx, due[i].Key); err != nil {
			if !ended(ctx, err) {
				p.log.Warn("mail_not_processed", "key", due[i].Key, "error", err)
			}
			return p.PollEvery
		}
		if p.isPaused() || ctx.Err() != nil {
			return p.PollEvery
		}
	}
	if len(due) >= dueAtOnce+len(p.setbacks) {
		return 0
	}
	return p.PollEvery
}

// deliverApart is deliver for a mail that must not hold up the others. It ends a mail
// that can never go out. A mail that fails again and again waits longer each time, and
// the next rounds begin behind it.
func (p *Processor) deliverApart(ctx context.Context, key string) error {
	err := guard.Do(func() error { return p.deliver(ctx, key) })
	if guard.As(err) != nil || store.IsRefused(err) {
		err = p.abandon(ctx, key, err)
	}
	if err == nil {
		delete(p.setbacks, key)
		return nil
	}
	if !ended(ctx, err) {
		p.setbacks = p.setbacks.add(key, p.Now())
	}
	return err
}

// abandon ends a mail that can never go out.
func (p *Processor) abandon(ctx context.Context, key string, why error) error {
	p.report.RejectDocument("notifications", key, nil, why)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.updateOnce(ctx, key, func(n *records.Notification) bool {
		end(n, records.MailFailed, why.Error())
		n.Body = nil
		return true
	})
}

// isPaused reports whether the provider refuses all mail for now.
func (p *Processor) isPaused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pause.reason != ""
}

// resume ends a pause and makes parked mails pending again.
func (p *Processor) resume(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.Now().Add(parkTail).UTC()
	for _, key := range p.facts.Parked {
		if err := p.updateOnce(ctx, key, func(n *records.Notification) bool {
			if n.State != records.MailParked {
				return false
			}
			n.State, n.NextAt = records.MailPending, &next
			return true
		}); p.unlessRefused(key, err) != nil {
			if !ended(ctx, err) {
				p.log.Warn("parked_mail_not_resumed", "key", key, "error", err)
			}
			p.pause = pause{until: p.Now().Add(p.PollEvery), reason: "parked mail has to be resumed first"}
			return
		}
	}
	p.unpark()
	p.pause = pause{}
}

// seekAddresses makes the waiting mails due for which no lookup was planned and whose
// feature now has a place to look addresses up. It returns false after an error.
func (p *Processor) seekAddresses(ctx context.Context) bool {
	l, now := p.live.Load(), p.Now().UTC()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.facts.Customers {
		for _, key := range c.Waiting {
			if err := p.updateOnce(ctx, key, func(n *records.Notification) bool {
				if n.State != records.MailWaiting || n.NextAt != nil || l.lookup(n.Feature) == nil {
					return false
				}
				n.NextAt = &now
				return true
			}); p.unlessRefused(key, err) != nil {
				if !ended(ctx, err) {
					p.log.Warn("waiting_mail_not_sought", "key", key, "error", err)
				}
				return false
			}
		}
	}
	return true
}

// updateOnce is update without repetition, for the sending goroutine: it must not
// hold the lock while the store is away.
func (p *Processor) updateOnce(ctx context.Context, key string, f func(n *records.Notification) bool) error {
	return p.callStoreOnce(ctx, func(ctx context.Context) error {
		n, ok, err := p.Store.Notification(ctx, key)
		if err != nil || !ok || !f(&n) {
			return err
		}
		return p.Store.UpdateNotification(ctx, n)
	})
}

// deliver takes one mail a step further. An error means that the store or the
// decisions are away and nothing has changed.
func (p *Processor) deliver(ctx context.Context, key string) error {
	n, ok, err := p.Store.Notification(ctx, key)
	if err != nil || !ok || !due(&n, p.Now()) {
		return err
	}
	s, err := p.look(ctx, &n)
	if err != nil {
		return err
	}
	c, ok, err := p.beginAttempt(ctx, key, s)
	if err != nil || !ok {
		return err
	}
	sending, done := context.WithTimeout(ctx, sendTimeout)
	id, err := p.Sender.Send(sending, c.Mail)
	done()
	if ended(ctx, err) {
		return err // the mail may be sent; the next owner repeats the attempt with the same key
	}
	return p.storeOutcome(ctx, &c, id, err)
}

// look reads the parts of the situation that need the network, before the lock is
// taken.
func (p *Processor) look(ctx context.Context, n *records.Notification) (*situation, error) {
	l := p.live.Load()
	lookup := l.lookup(n.Feature)
	s := &situation{coolDown: l.CoolDown, quiet: l.Quiet, lookup: lookup != nil}
	within, done := context.WithTimeout(ctx, decisionTimeout)
	defer done()
	d, ok, err := p.Decisions.Decision(within, n.Customer, n.Feature)
	if err != nil {
		return nil, err
	}
	if ok {
		s.decision = &d
	}
	p.mu.Lock()
	s.address = p.known(n.Customer).address()
	p.mu.Unlock()
	switch {
	case s.address != "" || lookup == nil || n.Body != nil:
	case p.Now().Before(p.noLookupBefore):
		s.lookupFailed = true
	default:
		address, err := lookup(within, n.Customer)
		if err != nil {
			// Further lookups would probably fail as slowly and delay mails with an address.
			s.lookupFailed, p.noLookupBefore = true, p.Now().Add(lookupPause/2)
			p.log.Warn("address_not_looked_up", "key", n.Key, "error", err)
		}
		s.address = valid(address)
	}
	if l.CoolDown > 0 && n.Body == nil {
		others, err := p.Store.NotificationsOf(ctx, n.Customer)
		if err != nil {
			return nil, err
		}
		s.lastMail = lastMail(n, others)
	}
	return s, nil
}

// lastMail returns when another mail was sent to the customer, or zero. A warning
// never delays the mail about the limit.
func lastMail(n *records.Notification, others []records.Notification) (last time.Time) {
	for i := range others {
		o := &others[i]
		if o.Key == n.Key || n.Kind == records.LimitKindReached && o.Kind != records.LimitKindReached {
			continue
		}
		at := o.SentAt
		if at == nil {
			at = o.FirstTryAt // it may be sent
		}
		if at != nil && at.After(last) {
			last = *at
		}
	}
	return last
}
