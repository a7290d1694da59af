package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/funnel"
	"github.com/tidegate-io/tidegate/internal/gate"
)

type checkCmd struct {
	Customer string `arg:"" help:"Customer id."`
	Feature  string `arg:"" help:"Feature of a gate."`
}

func (c *checkCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := a.get(e.ctx, "/v1/check", url.Values{"customer": {c.Customer}, "feature": {c.Feature}}, &raw); err != nil {
		return err
	}
	var d events.Decision
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	err = e.print(raw, func(w *tabwriter.Writer) error {
		row(w, "CUSTOMER", "FEATURE", "ALLOWED", "REASON", "PLAN", "USED", "LIMIT", "WINDOW ENDS", "UNBLOCKS")
		row(w, d.Customer, d.Feature, d.Allowed, string(d.Reason), d.Plan, known(d.Used), d.Limit, d.WindowEnd, d.UnblocksAt)
		return nil
	})
	if err == nil && !d.Allowed {
		return blockedError{}
	}
	return err
}

func known(v events.NullValue) string {
	if !v.Valid {
		return "?"
	}
	return v.Value.String()
}

type usageCmd struct {
	Customer string `arg:"" help:"Customer id."`
	Watch    bool   `help:"Print again whenever something changed."`
}

type customerView struct {
	Customer  string                   `json:"customer"`
	Plan      string                   `json:"plan"`
	Overrides map[string]gate.Override `json:"overrides"`
	Usage     []struct {
		Feature string           `json:"feature"`
		Start   *time.Time       `json:"window_start"`
		End     *time.Time       `json:"window_end"`
		Used    events.Value     `json:"used"`
		Limit   events.NullValue `json:"limit"`
	} `json:"usage"`
	Decisions []events.Decision `json:"decisions"`
}

func (c *usageCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	last := ""
	for {
		var raw json.RawMessage
		err := a.get(e.ctx, "/v1/customers/"+url.PathEscape(c.Customer), nil, &raw)
		var status *statusError
		unknown := errors.As(err, &status) && status.status == http.StatusNotFound
		if err != nil && !(unknown && c.Watch) {
			return err
		}
		var v customerView
		if err == nil {
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
		}
		if shown := v.digest(); err == nil && shown != last {
			last = shown
			if err := e.print(raw, v.table); err != nil {
				return err
			}
		}
		if !c.Watch {
			return nil
		}
		select {
		case <-e.ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// digest tells what is worth printing again.
func (v *customerView) digest() string {
	s := v.Plan
	for _, u := range v.Usage {
		s += fmt.Sprint(u.Feature, u.End, u.Used, u.Limit) // a rolling window's start moves
	}
	for _, d := range v.Decisions {
		s += fmt.Sprint(d.Feature, d.Allowed, d.Reason)
	}
	return s
}

func (v *customerView) table(w *tabwriter.Writer) error {
	row(w, "FEATURE", "PLAN", "USED", "LIMIT", "ALLOWED", "REASON", "WINDOW BEGAN", "ENDS")
	for _, d := range v.Decisions {
		used, start, end := known(d.Used), d.WindowStart, d.WindowEnd
		for _, u := range v.Usage {
			if u.Feature == d.Feature {
				used, start, end = u.Used.String(), u.Start, u.End
			}
		}
		row(w, d.Feature, d.Plan, used, d.Limit, d.Allowed, string(d.Reason), start, end)
	}
	return nil
}

type topCmd struct {
	Near  float64 `help:"Only customers who have used at least this part of a limit." default:"0.01"`
	Limit int     `help:"How many." default:"20"`
}

func (c *topCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	q := url.Values{"near": {fmt.Sprint(c.Near)}, "limit": {fmt.Sprint(c.Limit)}}
	if err := a.get(e.ctx, "/v1/customers", q, &raw); err != nil {
		return err
	}
	var list struct{ Customers []customerView }
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	return e.print(raw, func(w *tabwriter.Writer) error {
		row(w, "CUSTOMER", "PLAN", "FEATURE", "USED", "LIMIT", "WINDOW ENDS")
		for _, cu := range list.Customers {
			for _, u := range cu.Usage {
				row(w, cu.Customer, cu.Plan, u.Feature, u.Used, u.Limit, u.End)
			}
		}
		return nil
	})
}

type funnelCmd struct {
	From string `help:"Beginning, such as 2026-01-31 (default: 30 days before the end)."`
	To   string `help:"End, exclusive (default: now)."`
	By   string `help:"One line for each plan, feature or week." enum:",plan,feature,week" default:""`
}

func (c *funnelCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, v := range map[string]string{"from": c.From, "to": c.To, "by": c.By} {
		if v != "" {
			q.Set(name, v)
		}
	}
	var raw json.RawMessage
	if err := a.get(e.ctx, "/v1/funnel", q, &raw); err != nil {
		return err
	}
	rows := []funnel.Row{{}}
	if c.By == "" {
		err = json.Unmarshal(raw, &rows[0])
	} else {
		err = json.Unmarshal(raw, &rows)
	}
	if err != nil {
		return err
	}
	return e.print(raw, func(w *tabwriter.Writer) error {
		row(w, "KEY", "REACHED", "MAILED", "DELIVERED", "CLICKED", "CONVERTED", "MEDIAN TIME", "P90", "AMOUNTS")
		for _, r := range rows {
			row(w, r.Key, r.Reached, r.Mailed, r.Delivered, r.Clicked, r.Converted, seconds(r.MedianSeconds), seconds(r.P90Seconds), amounts(r.Amounts))
		}
		return nil
	})
}

func seconds(s *int64) string {
	if s == nil {
		return "-"
	}
	return (time.Duration(*s) * time.Second).String()
}

type gateOffCmd struct {
	Feature string `arg:"" help:"Feature of the gate."`
}

type gateOnCmd struct {
	Feature string `arg:"" help:"Feature of the gate."`
}

func (c *gateOffCmd) Run(e *env) error { return switchGate(e, c.Feature, true) }
func (c *gateOnCmd) Run(e *env) error  { return switchGate(e, c.Feature, false) }

func switchGate(e *env, feature string, off bool) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	body, _ := json.Marshal(map[string]bool{"off": off}) // cannot fail
	var raw json.RawMessage
	if err := a.do(e.ctx, "PUT", "/v1/gates/"+url.PathEscape(feature), "application/json", body, &raw); err != nil {
		return err
	}
	return e.print(raw, func(w *tabwriter.Writer) error {
		state := "enforced"
		if off {
			state = "off: everybody is allowed"
		}
		row(w, feature, state)
		return nil
	})
}
