package notifier

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

const (
	storeTimeout = 10 * time.Second // of one call
	minBackoff   = 50 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// callStore repeats a call of the store until it succeeds or the ownership ends. What
// the store refuses for good is not repeated: the message that asks for it is given up.
func (p *Processor) callStore(what string, f func(ctx context.Context) error) error {
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		err := p.callStoreOnce(p.ctx, f)
		if err == nil {
			return nil
		}
		if store.IsRefused(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if p.ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(p.ctx))
		}
		p.log.Warn("store_retry", "what", what, "in", wait, "error", err)
		if !sleep(p.ctx, wait) {
			return fmt.Errorf("%s: %w", what, context.Cause(p.ctx))
		}
	}
}

// callStoreOnce bounds one call of the store.
func (p *Processor) callStoreOnce(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, done := context.WithTimeout(ctx, storeTimeout)
	defer done()
	return f(ctx)
}

// unlessRefused returns err, or reports the notification and returns nil if the store
// can never hold what was to be written.
func (p *Processor) unlessRefused(key string, err error) error {
	if !store.IsRefused(err) {
		return err
	}
	p.report.RejectDocument("notifications", key, nil, err)
	return nil
}

// sleep waits. It returns false when ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// update calls f with a document, if it exists, and stores it when f returns true.
// The caller holds the lock. After an error f is called again with a new copy.
func (p *Processor) update(key string, f func(n *records.Notification) bool) error {
	return p.callStore("update notification", func(ctx context.Context) error {
		n, ok, err := p.Store.Notification(ctx, key)
		if err != nil || !ok || !f(&n) {
			return err
		}
		return p.Store.UpdateNotification(ctx, n)
	})
}

// updateAll is update for all documents of a customer.
func (p *Processor) updateAll(customer string, f func(n *records.Notification) bool) error {
	return p.callStore("update notifications", func(ctx context.Context) error {
		all, err := p.Store.NotificationsOf(ctx, customer)
		if err != nil {
			return err
		}
		for i := range all {
			if !f(&all[i]) {
				continue
			}
			if err := p.Store.UpdateNotification(ctx, all[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// open reports whether the mail may still be sent.
func open(n *records.Notification) bool {
	switch n.State {
	case records.MailWaiting, records.MailPending, records.MailParked:
		return true
	}
	return false
}

// due reports whether the sending goroutine has something to do for the mail.
func due(n *records.Notification, now time.Time) bool {
	switch n.State {
	case records.MailPending:
		return n.NextAt == nil || !n.NextAt.After(now)
	case records.MailWaiting:
		return n.NextAt != nil && !n.NextAt.After(now)
	}
	return false
}

// cancel ends a mail that is not wanted any more.
func cancel(n *records.Notification, why string) { end(n, records.MailCancelled, why) }

// end rules out further attempts. When an earlier attempt may have succeeded, the
// state becomes uncertain instead, until the provider reports.
func end(n *records.Notification, state records.MailState, why string) {
	if n.FirstTryAt != nil {
		state = records.MailUncertain
	}
	n.State, n.Error, n.NextAt = state, why, nil
}

// wake has the sending goroutine look for due mails.
func (p *Processor) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}
