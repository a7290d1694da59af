package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

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
