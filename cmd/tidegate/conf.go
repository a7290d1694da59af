package main

import (
	"fmt"
	"net/url"
	"os"
	"text/tabwriter"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/plan"
)

type confCmd struct {
	Check confCheckCmd `cmd:"" help:"Name line and field of every mistake; exit 1 if there is any."`
}

type confCheckCmd struct {
	File        string `arg:"" optional:"" help:"Configuration (default: --config)."`
	AgainstLive bool   `help:"Say who of the running Tidegate's customers it would newly block."`
}

func (c *confCheckCmd) Run(e *env) error {
	path := c.File
	if path == "" {
		path = e.Config
	}
	cfg, err := config.Load(path, os.LookupEnv)
	if err != nil {
		return err
	}
	if c.AgainstLive {
		return againstLive(e, cfg)
	}
	type gate struct {
		Feature string            `json:"feature"`
		Event   string            `json:"event"`
		Period  string            `json:"period"`
		Window  string            `json:"window"`
		Limits  map[string]string `json:"limits"`
	}
	summary := struct {
		File  string   `json:"file"`
		Plans []string `json:"plans"`
		Gates []gate   `json:"gates"`
	}{File: path, Gates: []gate{}}
	for _, p := range cfg.Plans {
		summary.Plans = append(summary.Plans, p.Name)
	}
	for _, g := range cfg.Gates {
		out := gate{Feature: g.Feature, Event: g.Meter.Event, Period: g.Window.Period(), Window: string(g.Window.Kind), Limits: map[string]string{}}
		for _, p := range cfg.Plans {
			out.Limits[p.Name] = g.LimitOf(p.Name).String()
		}
		summary.Gates = append(summary.Gates, out)
	}
	return e.printAny(summary, func(w *tabwriter.Writer) error {
		head := []any{"FEATURE", "EVENT", "PERIOD", "WINDOW"}
		for _, p := range summary.Plans {
			head = append(head, "LIMIT "+p)
		}
		row(w, head...)
		for _, g := range summary.Gates {
			cells := []any{g.Feature, g.Event, g.Period, g.Window}
			for _, p := range summary.Plans {
				cells = append(cells, g.Limits[p])
			}
			row(w, cells...)
		}
		row(w, path+" is valid")
		return nil
	})
}

// newlyBlocked is a customer whose usage reaches a limit that a configuration
// would bring.
type newlyBlocked struct {
	Customer string           `json:"customer"`
	Feature  string           `json:"feature"`
	Plan     string           `json:"plan"`
	Used     events.Value     `json:"used"`
	Limit    events.NullValue `json:"limit"`     // now
	NewLimit string           `json:"new_limit"` // by the configuration
}

// againstLive asks the running Tidegate for all usage, and judges it by cfg. It
// leaves overrides out: who has one is listed by the plan's limit.
func againstLive(e *env, cfg *config.Config) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	catalog := cfg.Catalog()
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
			found = append(found, page.Customers[i].blockedBy(&catalog)...)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	return e.printAny(found, func(w *tabwriter.Writer) error {
		row(w, "CUSTOMER", "FEATURE", "PLAN", "USED", "LIMIT NOW", "NEW LIMIT")
		for _, b := range found {
			row(w, b.Customer, b.Feature, b.Plan, b.Used, b.Limit, b.NewLimit)
		}
		row(w, fmt.Sprintf("%d would be blocked that are not now", len(found)))
		return nil
	})
}

func (v *customerView) blockedBy(c *plan.Catalog) (found []newlyBlocked) {
	for _, u := range v.Usage {
		g, ok := c.Gate(u.Feature)
		if !ok || g.Shadow || u.Limit.Valid && u.Used.Cmp(u.Limit.Value) >= 0 {
			continue
		}
		l := g.LimitOf(v.Plan)
		if l.Unlimited || !l.None && u.Used.Cmp(l.Value) < 0 {
			continue
		}
		found = append(found, newlyBlocked{v.Customer, u.Feature, v.Plan, u.Used, u.Limit, l.String()})
	}
	return found
}
