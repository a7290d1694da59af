package notifier

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

func (p *Processor) account(m *stream.Message, a *events.Account) error {
	if a.Customer == "" { // a switch of a gate
		return nil
	}
	if a.Erase {
		if err := p.erase(a.Customer); err != nil {
			return err
		}
	}
	p.learn(a)
	if a.Mail != nil {
		if err := p.report(a.Mail); err != nil {
			return err
		}
	}
	if a.Suppress != nil {
		if err := p.suppress(a.Customer, *a.Suppress); err != nil {
			return err
		}
	}
	if a.Email != nil && p.known(a.Customer).address() != "" {
		if err := p.sendWaiting(a.Customer); err != nil {
			return err
		}
	}
	if a.Click != nil {
		if err := p.click(a.Customer, a.Click, m.Time); err != nil {
			return err
		}
	}
	if a.Payment != nil {
		return p.payment(a.Customer, a.Payment, m.Time)
	}
	return nil
}

// learn takes over what is only remembered.
func (p *Processor) learn(a *events.Account) {
	if a.Email != nil {
		c := p.change(a.Customer)
		if a.EmailSource == "" {
			c.Email = *a.Email
		} else {
			c.StripeEmail = *a.Email
		}
	}
	if a.Locale != nil {
		p.change(a.Customer).Locale = *a.Locale
	}
	if a.Plan != nil {
		p.change(a.Customer).Pinned = a.Plan.Name
	}
	if s := a.Subscription; s != nil && s.Position >= p.known(a.Customer).Position {
		c := p.change(a.Customer)
		c.Plan, c.Position = s.Plan, s.Position
	}
}

// suppress stops all mail to a customer; "" lifts it, but brings nothing back.
func (p *Processor) suppress(customer, why string) error {
	c := p.change(customer)
	c.Suppressed = why
	if why == "" {
		return nil
	}
	c.Waiting = nil
	return p.cancelAll(customer, suppressed(why))
}

func (p *Processor) cancelAll(customer, why string) error {
	return p.updateAll(customer, func(n *events.Notification) bool {
		if !open(n) {
			return false
		}
		cancel(n, why)
		return true
	})
}

// erase forgets where mail goes, and what was written there. Counts, and the
// wish to get no mail, stay.
func (p *Processor) erase(customer string) error {
	c := p.change(customer)
	c.Email, c.StripeEmail, c.Locale, c.Waiting = "", "", "", nil
	return p.updateAll(customer, func(n *events.Notification) bool {
		if open(n) {
			cancel(n, "the customer was erased")
		} else if n.To == "" && n.Subject == "" && n.Body == nil {
			return false
		}
		n.To, n.Subject, n.Body = "", "", nil
		return true
	})
}

// sendWaiting lets out what waited for an address. Whether the customer is
// still blocked is looked at when it is sent.
func (p *Processor) sendWaiting(customer string) error {
	waiting := p.known(customer).Waiting
	if len(waiting) == 0 {
		return nil
	}
	for _, key := range waiting {
		if err := p.update(key, func(n *events.Notification) bool {
			if n.State != events.MailWaiting {
				return false
			}
			n.State, n.Error, n.NextAt = events.MailPending, "", nil
			return true
		}); err != nil {
			return err
		}
	}
	p.change(customer).Waiting = nil
	p.wake()
	return nil
}

func (p *Processor) forgetWaiting(customer, key string) {
	c := p.change(customer)
	c.Waiting = slices.DeleteFunc(slices.Clone(c.Waiting), func(k string) bool { return k == key })
}

// report notes what became of a mail. Any report proves that the provider took
// it, whatever we know of that.
func (p *Processor) report(r *events.MailReport) error {
	return p.update(r.Key, func(n *events.Notification) bool {
		at := r.At.UTC()
		if !mailed(n) {
			n.State, n.SentAt, n.NextAt, n.Error = events.MailSent, &at, nil, ""
		}
		if r.Event == events.MailEventDelivered {
			if n.DeliveredAt != nil {
				return false
			}
			n.State, n.DeliveredAt = events.MailDelivered, &at
			return true
		}
		n.Error = string(r.Event)
		if r.Detail != "" {
			n.Error += ": " + r.Detail
		}
		return true
	})
}

// click notes the first visit to a mail's link: it counts for the newest mail
// about the window, or, when the link was seen elsewhere, for the limit.
func (p *Processor) click(customer string, c *events.Click, at time.Time) error {
	key, sent := Key(events.LimitKindReached, 100, customer, c.Feature, c.WindowStart), time.Time{}
	find := func(n *events.Notification) bool {
		if n.Feature == c.Feature && n.WindowStart.Equal(c.WindowStart) && n.FirstTryAt != nil &&
			n.FirstTryAt.After(sent) && !n.FirstTryAt.After(at.Add(time.Second)) {
			key, sent = n.Key, *n.FirstTryAt
		}
		return false
	}
	if err := p.updateAll(customer, find); err != nil {
		return err
	}
	return p.update(key, func(n *events.Notification) bool {
		if n.ClickedAt != nil {
			return false
		}
		at = at.UTC()
		n.ClickedAt = &at
		return true
	})
}
