package enforcer

import (
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
)

// profilesOf answers questions.ProfilesOf.
func (p *Processor) profilesOf(ids []string) (questions.Customers, error) {
	answer := questions.Customers{Total: len(p.customers)}
	for i, id := range ids {
		if p.customers[id] == nil {
			answer.Unknown = append(answer.Unknown, i)
		}
	}
	return answer, nil
}

// standingOf answers questions.StandingOf.
func (p *Processor) standingOf(id string) (questions.Standing, error) {
	c := p.customers[id]
	known := c != nil
	if c == nil {
		c = &customer{doc: records.Customer{ID: id}, features: map[string]*entitlement{}}
	}
	answer := questions.Standing{Known: known, Customer: c.doc, Decisions: []events.Decision{}}
	answer.Customer.Plan = p.catalog.Plan(c.planName()).Name
	now := p.opt.Now()
	for i := range p.catalog.Gates {
		g := &p.catalog.Gates[i]
		e := c.features[g.Feature]
		if e == nil {
			e = &entitlement{}
		}
		d, w := p.decide(c, g, e, now)
		var published events.Decision // zero when apps have no key
		if e.Published != nil {
			published = *e.Published
			d.Position, d.UpgradeURL = published.Position, published.UpgradeURL
		}
		if w == nil || published.AsOf.After(d.AsOf) {
			d.AsOf = published.AsOf
		}
		answer.Decisions = append(answer.Decisions, d)
	}
	return answer, nil
}

// settingsOf answers questions.SettingsOf.
func (p *Processor) settingsOf(ids []string) ([]questions.Settings, error) {
	answer := make([]questions.Settings, len(ids))
	for i, id := range ids {
		c := p.customers[id]
		if c == nil {
			answer[i].Plan = p.catalog.Default().Name
			continue
		}
		answer[i] = questions.Settings{
			Plan: p.catalog.Plan(c.planName()).Name, Pinned: c.doc.PinnedPlan, Anchor: c.doc.Anchor,
			Overrides: c.doc.Overrides, StripeCustomer: c.doc.StripeCustomer,
		}
	}
	return answer, nil
}
