package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
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
	cfg, err := config.Open(path)
	if err != nil {
		return err
	}
	if err := app.CheckMails(cfg); err != nil {
		return err
	}
	if missing := app.MissingTemplates(cfg); missing != "" {
		_, _ = fmt.Fprintln(e.stderr, cfg.Refuse([]config.Problem{cfg.Problem("mail.templates", missing)}))
	}
	if c.AgainstLive {
		for _, o := range cfg.Overlaps() {
			_, _ = fmt.Fprintln(e.stderr, "note: "+o)
		}
		return againstLive(e, cfg)
	}
	return e.printConfig(path, cfg)
}

// printConfig prints the gates of a valid configuration with their limits.
func (e *env) printConfig(path string, cfg *config.Config) error {
	type gateSummary struct {
		Feature string            `json:"feature"`
		Event   string            `json:"event"`
		Period  string            `json:"period"`
		Window  string            `json:"window"`
		Limits  map[string]string `json:"limits"`
	}
	summary := struct {
		File  string        `json:"file"`
		Plans []string      `json:"plans"`
		Gates []gateSummary `json:"gates"`
		Notes []string      `json:"notes,omitempty"` // gates that overlap
	}{File: path, Gates: []gateSummary{}, Notes: cfg.Overlaps()}
	for _, p := range cfg.Plans {
		summary.Plans = append(summary.Plans, p.Name)
	}
	for _, g := range cfg.Gates {
		out := gateSummary{Feature: g.Feature, Event: g.Meter.Event, Period: g.Window.Period(), Window: string(g.Window.Kind), Limits: map[string]string{}}
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
		for _, note := range summary.Notes {
			row(w, "note: "+note)
		}
		return nil
	})
}
