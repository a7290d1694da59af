package notifier

import (
	"context"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

const (
	dueAtOnce       = 50
	decisionTimeout = 5 * time.Second
	sendTimeout     = time.Minute
	// claimed is how long a mail that is being sent is not due: longer than a
	// try can take.
	claimed = 90 * time.Second
)

// sendAll sends what is due until ctx is done.
func (p *Processor) sendAll(ctx context.Context) {
	p.resume(ctx) // a start may be what the operator did about parked mail
	for wait := time.Duration(0); ; {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-p.kick:
			t.Stop()
		case <-t.C:
		}
		wait = p.round(ctx)
	}
}

// round sends what is due, and returns when to look again.
func (p *Processor) round(ctx context.Context) time.Duration {
	now := p.Now()
	p.mu.Lock()
	stopped := p.pause
	p.mu.Unlock()
	if left := stopped.until.Sub(now); left > 0 {
		return min(left, p.PollEvery) // the clock may be set
	}
	if stopped.reason != "" {
		p.resume(ctx)
	}
	if p.seek.Swap(false) && !p.seekAddresses(ctx) {
		p.seek.Store(true)
		return p.PollEvery
	}
	due, err := p.Store.DueNotifications(ctx, now, dueAtOnce)
	if err != nil {
		if !ended(ctx, err) {
			p.log.Warn("due_mails_not_read", "error", err)
		}
		return p.PollEvery
	}
	for i := range due {
		if err := p.deliver(ctx, due[i].Key); err != nil {
			if !ended(ctx, err) {
				p.log.Warn("mail_not_processed", "key", due[i].Key, "error", err)
			}
			return p.PollEvery
		}
		if p.isPaused() || ctx.Err() != nil {
			return p.PollEvery
		}
	}
	if len(due) == dueAtOnce {
		return 0
	}
	return p.PollEvery
}

func (p *Processor) isPaused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pause.reason != ""
}

// resume ends a pause and makes parked mail pending again.
func (p *Processor) resume(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.Now().Add(parkTail).UTC()
	for _, key := range p.facts.Parked {
		if err := p.change1(ctx, key, func(n *records.Notification) bool {
			if n.State != records.MailParked {
				return false
			}
			n.State, n.NextAt = records.MailPending, &next
			return true
		}); err != nil {
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

// seekAddresses makes due what waits for an address without anything being
// looked for, where there is a place to look now. It says whether that worked.
func (p *Processor) seekAddresses(ctx context.Context) bool {
	l, now := p.live.Load(), p.Now().UTC()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.facts.Customers {
		for _, key := range c.Waiting {
			if err := p.change1(ctx, key, func(n *records.Notification) bool {
				if n.State != records.MailWaiting || n.NextAt != nil || l.lookup(n.Feature) == nil {
					return false
				}
				n.NextAt = &now
				return true
			}); err != nil {
				if !ended(ctx, err) {
					p.log.Warn("waiting_mail_not_sought", "key", key, "error", err)
				}
				return false
			}
		}
	}
	return true
}

// change1 is one try of update, for the sending goroutine: it must not hold the
// lock while the store is away.
func (p *Processor) change1(ctx context.Context, key string, f func(n *records.Notification) bool) error {
	return p.once(ctx, func(ctx context.Context) error {
		n, ok, err := p.Store.Notification(ctx, key)
		if err != nil || !ok || !f(&n) {
			return err
		}
		return p.Store.UpdateNotification(ctx, n)
	})
}

// deliver takes one mail a step further. An error means that the store or the
// decisions are away, and that nothing has happened.
func (p *Processor) deliver(ctx context.Context, key string) error {
	n, ok, err := p.Store.Notification(ctx, key)
	if err != nil || !ok || !due(&n, p.Now()) {
		return err
	}
	s, err := p.look(ctx, &n)
	if err != nil {
		return err
	}
	c, ok, err := p.claim(ctx, key, s)
	if err != nil || !ok {
		return err
	}
	sending, done := context.WithTimeout(ctx, sendTimeout)
	id, err := p.Sender.Send(sending, c.Mail)
	done()
	if ended(ctx, err) {
		return err // whether it went out is not known: the next owner sends the same again
	}
	return p.settle(ctx, &c, id, err)
}

// look collects what has to be read elsewhere before the lock is taken.
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
	case p.Now().Before(p.blindUntil):
		s.blind = true
	default:
		address, err := lookup(within, n.Customer)
		if err != nil {
			// The others would wait as long for nothing, and hold up those that have one.
			s.blind, p.blindUntil = true, p.Now().Add(blindWait/2)
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

// lastMail is when another mail went out to the customer. A warning never keeps
// back the mail that the limit is reached.
func lastMail(n *records.Notification, others []records.Notification) (last time.Time) {
	for i := range others {
		o := &others[i]
		if o.Key == n.Key || n.Kind == records.LimitKindReached && o.Kind != records.LimitKindReached {
			continue
		}
		at := o.SentAt
		if at == nil {
			at = o.FirstTryAt // it may have gone out
		}
		if at != nil && at.After(last) {
			last = *at
		}
	}
	return last
}
