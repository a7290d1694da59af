package cli

import (
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// newlyBlocked is a customer who may use a feature now and would be blocked under
// another configuration.
type newlyBlocked struct {
	Customer string           `json:"customer"`
	Feature  string           `json:"feature"`
	Plan     string           `json:"plan"`
	Used     events.Value     `json:"used"`
	Limit    events.NullValue `json:"limit"`     // now
	NewLimit string           `json:"new_limit"` // by the configuration
}

// againstLive reads all customers from the running Tidegate and prints whom cfg
// would newly block.
func againstLive(e *env, cfg *config.Config) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	var live events.Gates
	if err := a.get(e.ctx, "/v1/gates", nil, &live); err != nil {
		return err
	}
	catalog, now := cfg.Catalog(), time.Now()
	found := []newlyBlocked{}
	for cursor := ""; ; {
		q := url.Values{"limit": {"1000"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Customers []customerView
			Next      string
		}
		if err := a.get(e.ctx, "/v1/customers", q, &page); err != nil {
			return err
		}
		for i := range page.Customers {
			found = append(found, page.Customers[i].blockedBy(&catalog, live.DefaultPlan, now)...)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	return e.printAny(found, func(w *tabwriter.Writer) error {
		row(w, "CUSTOMER", "FEATURE", "PLAN", "USED", "LIMIT NOW", "NEW LIMIT")
		for _, b := range found {
			limit := "unlimited"
			if b.Limit.Valid {
				limit = b.Limit.Value.String()
			}
			row(w, b.Customer, b.Feature, b.Plan, b.Used, limit, b.NewLimit)
		}
		row(w, fmt.Sprintf("%d would be blocked that are not now", len(found)))
		return nil
	})
}

// blockedBy returns the gates of c that would newly block the customer. It decides
// as an enforcer does. A customer on the running Tidegate's default plan has no
// subscription, so the default plan of c applies.
func (v *customerView) blockedBy(c *gate.Catalog, defaultPlan string, now time.Time) (found []newlyBlocked) {
	planName := v.Plan
	if planName == defaultPlan {
		planName = ""
	}
	for i := range c.Gates {
		g := &c.Gates[i]
		live := v.decision(g.Feature)
		if !live.Allowed || live.Reason == events.GateOff { // the switch stays as it is
			continue
		}
		var o *gate.Override
		if own, ok := v.Overrides[g.Feature]; ok {
			o = &own
		}
		u := gate.Usage{Used: live.Used.Value}
		if live.WindowStart != nil && live.WindowEnd != nil {
			u.Start, u.End = *live.WindowStart, *live.WindowEnd
		}
		d := gate.Decide(c, g, v.Customer, planName, o, u, now)
		if d.Allowed {
			continue
		}
		limit := d.Limit.Value.String()
		if d.Reason == events.NotInPlan {
			limit = gate.Limit{None: true}.String()
		}
		found = append(found, newlyBlocked{v.Customer, g.Feature, d.Plan, u.Used, live.Limit, limit})
	}
	return found
}

// decision returns the running Tidegate's decision. A feature without a gate is
// allowed.
func (v *customerView) decision(feature string) events.Decision {
	for _, d := range v.Decisions {
		if d.Feature == feature {
			return d
		}
	}
	return events.Decision{Allowed: true}
}
