package notifier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Key returns the key of the notification of a crossing. The limit is not part of
// it: a warning level is mailed once in a window, however often the limit changes.
func Key(kind records.LimitKind, percent int, customer, feature string, windowStart time.Time) string {
	h := sha256.New()
	for _, s := range [...]string{customer, feature, windowStart.UTC().Format(time.RFC3339Nano)} {
		fmt.Fprintf(h, "%d:%s,", len(s), s)
	}
	prefix := "limit-reached/"
	if kind == records.LimitKindThreshold {
		prefix = "threshold-" + strconv.Itoa(percent) + "/"
	}
	return prefix + hex.EncodeToString(h.Sum(nil))
}

// applyLimit applies one record of LIMITS.
func (p *Processor) applyLimit(m *stream.Message, l *records.Limit) error {
	switch {
	case l.Customer == "" || l.Feature == "":
		return p.reject(m, errors.New("the record names no customer or feature"))
	case l.Kind == records.LimitKindReached, l.Kind == records.LimitKindThreshold:
		return p.crossed(l)
	case l.Kind == records.LimitKindUnblocked:
		return p.unblocked(l)
	}
	return p.reject(m, fmt.Errorf("kind %q is not known", l.Kind))
}

// template returns the name of the template for a crossing, or "" when the gate
// sends no mail about it.
func (p *Processor) template(c *gate.Catalog, kind records.LimitKind, feature string) string {
	g, ok := c.Gate(feature)
	if !ok {
		return ""
	}
	return p.live.Load().render.templates.of(g, kind)
}

// crossed stores the notification of a crossing, once.
func (p *Processor) crossed(l *records.Limit) error {
	catalog := p.Catalog()
	template := p.template(&catalog, l.Kind, l.Feature)
	if l.Kind == records.LimitKindThreshold && template == "" {
		return nil
	}
	if l.Kind == records.LimitKindReached {
		l.Percent = 100
	}
	n := records.Notification{
		Key:      Key(l.Kind, l.Percent, l.Customer, l.Feature, l.WindowStart),
		Customer: l.Customer, Feature: l.Feature, Kind: l.Kind, Percent: l.Percent, Plan: l.Plan, Limit: l.Limit,
		WindowStart: l.WindowStart.UTC(), WindowEnd: l.WindowEnd.UTC(), ReachedAt: l.At.UTC(),
	}
	n.State, n.Error = p.initialState(l, template)
	if n.State == records.MailWaiting && p.live.Load().lookup(l.Feature) != nil {
		n.NextAt = &n.ReachedAt // look the address up at once
	}
	if open(&n) {
		p.keep(n.Key, l.At.Add(keepBody))
		if p.known(l.Customer).address() == "" {
			if c := p.changing(l.Customer); !slices.Contains(c.Waiting, n.Key) {
				c.Waiting = append(c.Waiting, n.Key)
			}
		}
	}
	if err := p.callStore("insert notification", func(ctx context.Context) error {
		_, err := p.Store.InsertNotification(ctx, n)
		return err
	}); err != nil {
		return err
	}
	if open(&n) {
		p.wake()
	}
	return p.attributeAgain(l.Customer)
}

// initialState returns the first state of a notification, and why.
func (p *Processor) initialState(l *records.Limit, template string) (records.MailState, string) {
	c := p.known(l.Customer)
	switch {
	case !p.recovered.IsZero() && !l.At.After(p.recovered):
		return records.MailNone, "the record of earlier mails was lost"
	case l.Silent:
		return records.MailNone, "caused by an import or a new configuration"
	case l.Shadow:
		return records.MailNone, "the gate only shadows"
	case template == "":
		return records.MailNone, "the gate has no mail"
	case c.Suppressed != "":
		return records.MailCancelled, suppressed(c.Suppressed)
	case c.address() == "":
		return records.MailWaiting, ""
	}
	return records.MailPending, ""
}

func suppressed(why string) string { return "suppressed: " + why }

// unblocked cancels the open mails about the window and about earlier ones. It
// leaves a crossing alone that came after the record, which may be a repeat.
func (p *Processor) unblocked(l *records.Limit) error {
	return p.updateAll(l.Customer, func(n *records.Notification) bool {
		if n.Feature != l.Feature || !open(n) || n.ReachedAt.After(l.At) ||
			!l.WindowStart.IsZero() && n.WindowStart.After(l.WindowStart) {
			return false
		}
		cancel(n, "unblocked")
		return true
	})
}
