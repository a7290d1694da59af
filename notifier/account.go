package notifier

import (
	"net/mail"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

func (p *Processor) account(m *stream.Message, a *records.Account) error {
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
		if err := p.report(a.Customer, a.Mail); err != nil {
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
	for _, move := range moved(a) {
		if err := p.payment(a.Customer, &move, m.Time); err != nil {
			return err
		}
	}
	return nil
}

// learn takes over what is only remembered.
func (p *Processor) learn(a *records.Account) {
	if a.Email != nil {
		c := p.change(a.Customer)
		if a.EmailSource == "" {
			c.Email = valid(*a.Email)
		} else {
			c.StripeEmail = valid(*a.Email)
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
	return p.updateAll(customer, func(n *records.Notification) bool {
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
	return p.updateAll(customer, func(n *records.Notification) bool {
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
	waiting := slices.Clone(p.known(customer).Waiting)
	if len(waiting) == 0 {
		return nil
	}
	for _, key := range waiting {
		if err := p.update(key, func(n *records.Notification) bool {
			if n.State != records.MailWaiting {
				return false
			}
			n.State, n.Error, n.NextAt = records.MailPending, "", nil
			return true
		}); err != nil {
			return err
		}
	}
	p.change(customer).Waiting = nil
	p.wake()
	return nil
}

// valid is an address that mail can be sent to, or "": then another one is
// waited for.
func valid(address string) string {
	if _, err := mail.ParseAddress(address); err != nil {
		return ""
	}
	return address
}

func (p *Processor) forgetWaiting(customer, key string) {
	if !slices.Contains(p.known(customer).Waiting, key) {
		return
	}
	c := p.change(customer)
	c.Waiting = slices.DeleteFunc(slices.Clone(c.Waiting), func(k string) bool { return k == key })
}

// standing orders what a provider reports of a mail, so that reports in any
// order end in the same state.
var standing = map[records.MailState]int{
	records.MailSent: 1, records.MailFailed: 2, records.MailSuppressed: 3,
	records.MailDelivered: 4, records.MailBounced: 5, records.MailComplained: 6,
}

// report notes what became of a mail. Any report proves that the provider took
// it, whatever we know of that.
func (p *Processor) report(customer string, r *records.MailReport) error {
	if err := p.update(r.Key, func(n *records.Notification) bool { return reported(n, r) }); err != nil {
		return err
	}
	return p.attributeAgain(customer)
}

// reported writes a report into the document, and says whether it changed it.
func reported(n *records.Notification, r *records.MailReport) bool {
	if n.State == records.MailNone {
		return false // another installation's that shares the account
	}
	at, changed, taken := r.At.UTC(), false, n.SentAt != nil
	first := func(t **time.Time) {
		if *t == nil || at.Before(**t) {
			*t, changed = &at, true
		}
	}
	first(&n.SentAt)
	if r.Event == records.MailEventDelivered || r.Event == records.MailEventComplained {
		first(&n.DeliveredAt)
	}
	if state := records.MailState(r.Event); !taken || standing[state] > standing[n.State] {
		n.State, n.Error, n.NextAt = state, r.Detail, nil
		return true
	}
	return changed
}

// click notes the first visit to a mail's link: it counts for the newest mail
// about the window, or, when the link was seen elsewhere, for the limit.
func (p *Processor) click(customer string, c *records.Click, at time.Time) error {
	key, sent := Key(records.LimitKindReached, 100, customer, c.Feature, c.WindowStart), time.Time{}
	find := func(n *records.Notification) bool {
		if n.Feature == c.Feature && n.WindowStart.Equal(c.WindowStart) && n.FirstTryAt != nil &&
			n.FirstTryAt.After(sent) && !n.FirstTryAt.After(at.Add(time.Second)) {
			key, sent = n.Key, *n.FirstTryAt
		}
		return false
	}
	if err := p.updateAll(customer, find); err != nil {
		return err
	}
	if err := p.update(key, func(n *records.Notification) bool {
		if n.ClickedAt != nil {
			return false
		}
		at = at.UTC()
		n.ClickedAt = &at
		return true
	}); err != nil {
		return err
	}
	return p.attributeAgain(customer)
}
