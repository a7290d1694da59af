package notifier

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

const (
	storeTimeout = 10 * time.Second // of one call
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 10 * time.Second
)

// try repeats a call of the store until it works or the ownership ends.
func (p *Processor) try(what string, f func(ctx context.Context) error) error {
	for wait := firstBackoff; ; wait = min(2*wait, lastBackoff) {
		err := p.once(p.ctx, f)
		if err == nil {
			return nil
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

func (p *Processor) once(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, done := context.WithTimeout(ctx, storeTimeout)
	defer done()
	return f(ctx)
}

// sleep waits and says whether ctx is still good.
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

// update changes a document, if it is there and f says that it changed it. The
// caller holds the lock.
func (p *Processor) update(key string, f func(n *records.Notification) bool) error {
	return p.try("update notification", func(ctx context.Context) error {
		n, ok, err := p.Store.Notification(ctx, key)
		if err != nil || !ok || !f(&n) {
			return err
		}
		return p.Store.UpdateNotification(ctx, n)
	})
}

// updateAll is update for all of a customer's documents.
func (p *Processor) updateAll(customer string, f func(n *records.Notification) bool) error {
	return p.try("update notifications", func(ctx context.Context) error {
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

// open says whether the mail may still go out.
func open(n *records.Notification) bool {
	switch n.State {
	case records.MailWaiting, records.MailPending, records.MailParked:
		return true
	}
	return false
}

// due says whether the sending goroutine has something to do for the mail.
func due(n *records.Notification, now time.Time) bool {
	switch n.State {
	case records.MailPending:
		return n.NextAt == nil || !n.NextAt.After(now)
	case records.MailWaiting:
		return n.NextAt != nil && !n.NextAt.After(now)
	}
	return false
}

func cancel(n *records.Notification, why string) { end(n, records.MailCancelled, why) }

// end lets no further try be made. When an earlier one may have gone out, it is
// neither true that the mail was cancelled nor that it failed: only the
// provider's report can settle it.
func end(n *records.Notification, state records.MailState, why string) {
	if n.FirstTryAt != nil {
		state = records.MailUncertain
	}
	n.State, n.Error, n.NextAt = state, why, nil
}

func (p *Processor) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}
