package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

type explainCmd struct {
	Customer string `arg:"" help:"Customer id."`
	Feature  string `arg:"" help:"Feature of a gate."`
}

// explanation is what the API knows about a decision.
type explanation struct {
	Decision     events.Decision  `json:"decision"` // what apps are told
	Owner        *events.Decision `json:"owner"`    // what the partition's owner says
	Plan         string           `json:"plan"`
	Pinned       string           `json:"pinned"`
	PlanLimit    string           `json:"plan_limit"`
	Override     *gate.Override   `json:"override"`
	Anchor       *time.Time       `json:"anchor"`
	Windows      []records.Window `json:"windows"`
	Exact        bool             `json:"exact"`
	AsOf         *time.Time       `json:"as_of"`
	Subscription *struct {
		Status         string     `json:"status"`
		StripeCustomer string     `json:"stripe_customer"`
		GraceUntil     *time.Time `json:"grace_until"`
	} `json:"subscription"`
}

func (c *explainCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := a.get(e.ctx, "/v1/explain", url.Values{"customer": {c.Customer}, "feature": {c.Feature}}, &raw); err != nil {
		return err
	}
	var x explanation
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	return e.print(raw, x.table)
}

func (x *explanation) table(w *tabwriter.Writer) error {
	row(w, "apps are told", verdict(&x.Decision))
	if x.Owner != nil && (x.Owner.Allowed != x.Decision.Allowed || x.Owner.Reason != x.Decision.Reason) {
		row(w, "its owner says", verdict(x.Owner))
	}
	if x.Exact {
		row(w, "usage as of", x.AsOf)
	} else {
		row(w, "usage as of", "the stored document: the partition's owner does not answer")
	}
	plan := x.Plan
	if x.Pinned != "" {
		plan += ", set by an operator"
	}
	row(w, "plan", plan)
	row(w, "its limit", x.PlanLimit)
	if x.Override != nil {
		row(w, "override", exception(x.Override))
	}
	if s := x.Subscription; s != nil {
		row(w, "subscription", s.Status+" of "+s.StripeCustomer)
		if s.GraceUntil != nil {
			row(w, "grace until", s.GraceUntil)
		}
	}
	if x.Anchor != nil {
		row(w, "anchor", x.Anchor)
	}
	for _, u := range x.Windows {
		name := "window"
		if u.Current {
			name = "current window"
		}
		row(w, name, fmt.Sprintf("%s to %s: %s used in %d events", day(u.Start), day(u.End), u.Used, u.Events))
	}
	return nil
}

func verdict(d *events.Decision) string {
	word := "blocked"
	if d.Allowed {
		word = "allowed"
	}
	return fmt.Sprintf("%s: %s (%s of %s used)", word, d.Reason, known(d.Used), d.Limit)
}

func exception(o *gate.Override) string {
	var parts []string
	switch {
	case o.Unlimited:
		parts = append(parts, "no limit")
	case o.Limit != nil:
		parts = append(parts, "limit "+o.Limit.String())
	}
	if o.Grant != nil {
		parts = append(parts, o.Grant.String()+" more")
	}
	s := strings.Join(parts, " and ")
	if o.Until != nil {
		s += " until " + day(*o.Until)
	}
	if o.Reason != "" {
		s += ": " + o.Reason
	}
	return s
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}
