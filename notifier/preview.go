package notifier

import (
	"fmt"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// PreviewMail is a mail with sample data.
type PreviewMail struct {
	Feature string
	Kind    records.LimitKind // reached, or threshold for a mail about a warning level
	Locale  string            // "": the language of customers without a locale
	*Message
}

// Previews renders the mails of every gate with sample data: each kind, in each
// language that has templates. Unless they are empty, feature and locale select
// one. It uses only Settings, Catalog and Secret of the options.
func Previews(o Options, feature, locale string) ([]PreviewMail, error) {
	l, err := newLive(o.Settings, o.Secret, o.Catalog)
	if err != nil {
		return nil, err
	}
	c := o.Catalog()
	var all []PreviewMail
	for i := range c.Gates {
		g := &c.Gates[i]
		if feature != "" && g.Feature != feature {
			continue
		}
		for _, kind := range [...]records.LimitKind{records.LimitKindReached, records.LimitKindThreshold} {
			template := l.render.templates.of(g, kind)
			if template == "" {
				continue
			}
			locales := l.render.templates.locales(template)
			if locale != "" {
				locales = []string{locale}
			}
			for _, locale := range locales {
				m, err := l.render.preview(template, &c, g, kind, locale)
				if err != nil {
					return nil, err
				}
				all = append(all, PreviewMail{g.Feature, kind, locale, m})
			}
		}
	}
	if feature != "" && len(all) == 0 {
		return nil, fmt.Errorf("no gate %q with an upgrade_prompt is configured", feature)
	}
	return all, nil
}

func (r *renderer) preview(template string, c *gate.Catalog, g *gate.Gate, kind records.LimitKind, locale string) (*Message, error) {
	d := sample("acme", g.Feature)
	n := &records.Notification{Customer: d.Customer, Feature: d.Feature, Kind: kind, Percent: 100, Plan: c.Default().Name,
		Limit: events.Count(100), WindowStart: d.WindowStart, WindowEnd: d.WindowEnd}
	if l := g.LimitOf(n.Plan); !l.Unlimited && !l.None {
		n.Limit = l.Value
	}
	used := n.Limit
	if kind == records.LimitKindThreshold {
		n.Percent = g.WarnAt[0]
		used = events.Count(n.Limit.Percent(n.Percent).Units)
	}
	full := &events.Decision{Used: events.Some(used), Limit: events.Some(n.Limit), UnblocksAt: &d.UnblocksAt}
	data := r.data(g, n, full, d.WindowEnd)
	data.Message, data.UpgradeURL = orElse(data.Message, d.Message), orElse(data.UpgradeURL, d.UpgradeURL)
	data.UnsubscribeURL = orElse(data.UnsubscribeURL, d.UnsubscribeURL)
	m, err := r.render(template, locale, data)
	if err != nil {
		return nil, err
	}
	m.To = []string{"ada@acme.example"}
	return m, nil
}
