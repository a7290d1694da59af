package enforcer

import (
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// applyAccount applies one record of ACCOUNT, and publishes control events to USAGE
// for the parts of it that change the aggregator's fold.
func (p *Processor) applyAccount(m *stream.Message) error {
	a, err := records.DecodeAccount(m.Subject, m.Data, p.opt.Partitions)
	if err != nil {
		return stream.Reject(err)
	}
	if a.Gate != nil {
		return p.switchGate(*a.Gate)
	}
	c := p.customer(a.Customer)
	before := c.planName()
	c.setProfile(&a, m)
	if a.Erase {
		a.Overrides = c.withoutReasons()
	}
	if err := p.applyOverrides(c, &a, m); err != nil {
		return err
	}
	if a.Anchor != nil {
		at := a.Anchor.UTC()
		c.doc.Anchor = &at
		c.cut(m.Time)
		if err := p.publishControl(m, records.ControlAnchor, c.doc.ID, "anchor", records.AnchorControl{Anchor: at, From: m.Time}); err != nil {
			return err
		}
	}
	if a.Plan != nil {
		c.doc.PinnedPlan = a.Plan.Name
	}
	if a.Subscription != nil && a.Subscription.Position >= c.stripe.Position {
		c.stripe = *a.Subscription
	}
	if err := p.applyPlanChange(c, before, m); err != nil {
		return err
	}
	c.doc.Plan = p.catalog.Plan(c.planName()).Name
	p.changed(c)
	p.documents = append(p.documents, c)
	if a.Anchor != nil || a.Plan != nil || a.Subscription != nil || len(a.Overrides) > 0 {
		p.mark(c, "", false)
	}
	return nil
}

// setProfile sets the fields that do not change decisions.
func (c *customer) setProfile(a *records.Account, m *stream.Message) {
	c.known = true
	c.doc.Position, c.doc.UpdatedAt = m.Seq, m.Time
	if a.Erase {
		c.doc.Email, c.doc.StripeEmail, c.doc.Locale = "", "", ""
	}
	set := func(to *string, value *string) {
		if value != nil {
			*to = *value
		}
	}
	if a.EmailSource == "stripe" {
		set(&c.doc.StripeEmail, a.Email)
	} else {
		set(&c.doc.Email, a.Email)
	}
	set(&c.doc.Locale, a.Locale)
	set(&c.doc.StripeCustomer, a.StripeCustomer)
	set(&c.doc.Suppressed, a.Suppress)
}

// withoutReasons returns the overrides that have a reason, each without it: a reason is
// free text, and may name a person.
func (c *customer) withoutReasons() map[string]*gate.Override {
	bare := map[string]*gate.Override{}
	for feature, o := range c.doc.Overrides {
		if o.Reason != "" {
			o.Reason = ""
			bare[feature] = &o
		}
	}
	return bare
}

// applyOverrides sets and removes overrides.
func (p *Processor) applyOverrides(c *customer, a *records.Account, m *stream.Message) error {
	if len(a.Overrides) > 0 { // a store may be writing the old map
		c.doc.Overrides = maps.Clone(c.doc.Overrides)
		if c.doc.Overrides == nil {
			c.doc.Overrides = map[string]gate.Override{}
		}
	}
	for feature, o := range a.Overrides {
		if _, had := c.doc.Overrides[feature]; o == nil && !had {
			continue // it holds already
		}
		if o == nil {
			delete(c.doc.Overrides, feature)
		} else {
			if !a.Erase {
				o.At = new(m.Time.Truncate(time.Millisecond))
			}
			c.doc.Overrides[feature] = *o
		}
		err := p.publishControl(m, records.ControlOverride, c.doc.ID, "override/"+feature, records.OverrideControl{Feature: feature, Override: o, Position: m.Seq})
		if err != nil {
			return err
		}
	}
	return nil
}

// applyPlanChange publishes a plan that changed to the aggregator. The first paid
// plan and every downgrade end the running windows; a trial and a return to a paid
// plan do not.
func (p *Processor) applyPlanChange(c *customer, before string, m *stream.Message) error {
	after := c.planName()
	paid := p.catalog.Plan(after).Paid
	first := paid && !c.everPaid && (c.doc.PinnedPlan != "" || c.stripe.Status != "trialing")
	if before == after && !first {
		return nil
	}
	downgrade := p.catalog.Plan(before).Paid && !paid
	c.everPaid = c.everPaid || first
	cut := first || downgrade
	if cut {
		c.cut(m.Time)
	}
	return p.publishControl(m, records.ControlPlan, c.doc.ID, "plan", records.PlanControl{Plan: after, From: m.Time, Cut: cut, Position: m.Seq})
}

// cut ends the customer's running windows.
func (c *customer) cut(from time.Time) {
	c.cutAt = from.UTC().Truncate(time.Millisecond)
	for _, e := range c.features {
		for i := range e.Windows {
			cut(&e.Windows[i], c.cutAt)
		}
	}
}

// publishControl publishes a control event. Its id names the record that caused
// it, so that a repetition after a crash counts once.
func (p *Processor) publishControl(m *stream.Message, typ, customer, what string, data any) error {
	id := fmt.Sprintf("account/%d/%s", m.Seq, what)
	b, err := records.Control(typ, customer, id, data)
	if err != nil {
		return err
	}
	return p.o.Publish(&nats.Msg{Subject: p.o.Names.Usage(p.o.Partition, events.ControlToken), Data: b})
}
