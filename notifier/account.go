package notifier

import (
	"net/mail"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// applyAccount applies one record of ACCOUNT.
func (p *Processor) applyAccount(m *stream.Message, a *records.Account) error {
	if a.Customer == "" { // a switch of a gate
		return nil
	}
	if a.Erase {
		if err := p.erase(a.Customer); err != nil {
			return err
		}
	}
	p.remember(a)
	if a.Mail != nil {
		if err := p.applyReport(a.Customer, a.Mail); err != nil {
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
		if err := p.applyClick(a.Customer, a.Click, m.Time); err != nil {
			return err
		}
	}
	for _, move := range movesOf(a) {
		if err := p.applyPayment(a.Customer, &move, m.Time); err != nil {
			return err
		}
	}
	return nil
}

// remember stores the parts of a record that later mails and conversions need.
func (p *Processor) remember(a *records.Account) {
	if a.Email != nil {
		c := p.changing(a.Customer)
		if a.EmailSource == "" {
			c.Email = valid(*a.Email)
		} else {
			c.StripeEmail = valid(*a.Email)
		}
	}
	if a.Locale != nil {
		p.changing(a.Customer).Locale = *a.Locale
	}
	if a.Plan != nil {
		p.changing(a.Customer).Pinned = a.Plan.Name
	}
	if s := a.Subscription; s != nil && s.Position >= p.known(a.Customer).Position {
		c := p.changing(a.Customer)
		c.Plan, c.Position = s.Plan, s.Position
	}
}

// suppress stops all mail to a customer and cancels the open ones. With why "" it
// allows mail again, and brings nothing back.
func (p *Processor) suppress(customer, why string) error {
	c := p.changing(customer)
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

// erase removes the customer's addresses and the texts of the mails. Counts stay,
// and so does a suppression.
func (p *Processor) erase(customer string) error {
	c := p.changing(customer)
	c.Email, c.StripeEmail, c.Locale, c.Waiting = "", "", "", nil
	keeper, keeps := p.Sender.(Keeper)
	return p.updateAll(customer, func(n *records.Notification) bool {
		if keeps && n.ProviderID != "" {
			if err := keeper.Forget(n.ProviderID); err != nil {
				p.log.Error("mail_not_erased", "file", n.ProviderID, "error", err)
			}
		}
		if open(n) {
			cancel(n, "the customer was erased")
		} else if n.To == "" && n.Subject == "" && n.Body == nil {
			return false
		}
		n.To, n.Subject, n.Body = "", "", nil
		return true
	})
}

// sendWaiting makes the mails that waited for an address pending. Whether the
// customer is still blocked is judged before each is sent.
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
	p.changing(customer).Waiting = nil
	p.wake()
	return nil
}

// valid returns the address if mail can be sent to it, else "": mails then wait for
// another address.
func valid(address string) string {
	if _, err := mail.ParseAddress(address); err != nil {
		return ""
	}
	return address
}

// forgetWaiting removes a mail from those that wait for the customer's address.
func (p *Processor) forgetWaiting(customer, key string) {
	if !slices.Contains(p.known(customer).Waiting, key) {
		return
	}
	c := p.changing(customer)
	c.Waiting = slices.DeleteFunc(slices.Clone(c.Waiting), func(k string) bool { return k == key })
}

// standing ranks the provider's reports of a mail, so that reports in any order lead
// to the same state.
var standing = map[records.MailState]int{
	records.MailSent: 1, records.MailFailed: 2, records.MailSuppressed: 3,
	records.MailDelivered: 4, records.MailBounced: 5, records.MailComplained: 6,
}

// applyReport applies a report of the provider. Any report proves that the provider
// took the mail, even when the answer to the attempt was lost.
func (p *Processor) applyReport(customer string, r *records.MailReport) error {
	if err := p.update(r.Key, func(n *records.Notification) bool { return mergeReport(n, r) }); err != nil {
		return err
	}
	return p.attributeAgain(customer)
}

// mergeReport writes a report into the document, and reports whether that changed
// it.
func mergeReport(n *records.Notification, r *records.MailReport) bool {
	if n.State == records.MailNone {
		return false // the mail of another installation that shares the account
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

// applyClick notes the first visit to an upgrade link. The visit counts for the
// newest mail about the window. Without a mail, the customer found the link in a
// decision, and the visit counts for the notification of the limit.
func (p *Processor) applyClick(customer string, c *records.Click, at time.Time) error {
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
