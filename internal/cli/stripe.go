package cli

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/misuse"
	stripeapi "github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/refetch"
)

type stripeCmd struct {
	Sync  stripeSyncCmd  `cmd:"" help:"Compare all subscriptions, customers and products at Stripe with what Tidegate knows, and repair what differs."`
	Setup stripeSetupCmd `cmd:"" help:"Create or complete the webhook endpoint at Stripe, or say what to click."`
}

// stripeClient is made of STRIPE_SECRET_KEY and STRIPE_API_BASE; nil without a
// key.
func stripeClient(rate float64) (*stripeapi.Client, error) {
	key, err := environ.Lookup("STRIPE_SECRET_KEY")
	if err != nil || key == "" {
		return nil, err
	}
	base, err := environ.Lookup("STRIPE_API_BASE")
	if err != nil {
		return nil, err
	}
	return stripeapi.New(stripeapi.Options{Key: key, Base: base, Rate: rate, Retries: 2})
}

type stripeSyncCmd struct {
	natsFlags
	DryRun  bool    `help:"Only say what differs."`
	Restart bool    `help:"Begin anew, even if the last run was interrupted."`
	Rate    float64 `help:"Requests a second to Stripe, at most." default:"20"`
}

func (c *stripeSyncCmd) Run(e *env) error {
	remote, err := stripeClient(c.Rate)
	if err != nil {
		return err
	}
	if remote == nil {
		return misuse.Errorf("STRIPE_SECRET_KEY is not set: it says whose subscriptions to compare")
	}
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	s := refetch.Sync{Stripe: remote, NC: l.nc, JS: l.js, Names: l.names, DryRun: c.DryRun, Restart: c.Restart}
	finish := e.follow(&s)
	report, err := s.Run(e.ctx)
	finish()
	if err != nil && e.ctx.Err() != nil {
		return errors.New("interrupted: run the command again, it goes on where it stopped")
	}
	if err != nil {
		return fmt.Errorf("%w: run the command again, it goes on where it stopped", err)
	}
	return e.printAny(report, func(w *tabwriter.Writer) error {
		c.table(w, &report)
		return nil
	})
}

func (c *stripeSyncCmd) table(w *tabwriter.Writer, r *refetch.Report) {
	if len(r.Drifts) > 0 {
		row(w, "OBJECT", "CUSTOMER", "FIELD", "HERE", "AT STRIPE")
	}
	for _, d := range r.Drifts {
		for _, f := range d.Differences {
			row(w, d.ID, d.Customer, f.Field, f.Here, f.Stripe)
		}
	}
	for _, id := range r.Missing {
		row(w, id, "", "subscription", "open", "unknown: is it of another account or mode?")
	}
	did := fmt.Sprintf("%d repaired", r.Repaired)
	if c.DryRun {
		did = "nothing was changed"
	}
	gone := ""
	if r.Resumed {
		gone = ", going on where the last run stopped"
	}
	row(w, fmt.Sprintf("compared %d subscriptions, %d customers and %d products%s: %d differed, %s",
		r.Compared["subscription"], r.Compared["customer"], r.Compared["product"], gone, len(r.Drifts), did))
}

type stripeSetupCmd struct {
	URL string `name:"url" help:"Address that Stripe posts webhooks to (default: public_url and /webhooks/stripe)." placeholder:"URL"`
}

// endpointReport is what became of the webhook endpoint.
type endpointReport struct {
	Action     string   `json:"action"` // created, updated, unchanged or, without a key, none
	ID         string   `json:"id,omitempty"`
	URL        string   `json:"url"`
	Livemode   bool     `json:"livemode"`
	APIVersion string   `json:"api_version,omitempty"`
	Events     []string `json:"events"`
	Secret     string   `json:"secret,omitempty"` // only of one that was created
	Others     []string `json:"others,omitempty"` // further endpoints of the same address
}

func (c *stripeSetupCmd) Run(e *env) error {
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return err
	}
	address := c.URL
	if address == "" && cfg.PublicURL != "" {
		address = cfg.PublicURL + "/webhooks/stripe"
	}
	remote, err := stripeClient(0)
	if err != nil {
		return err
	}
	if address == "" && remote == nil {
		address = "https://<where your customers' browsers reach Tidegate>/webhooks/stripe"
	}
	if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		return misuse.Errorf("where does Stripe reach Tidegate? Set public_url, or name the address with --url https://…/webhooks/stripe")
	}
	report := endpointReport{Action: "none", URL: address, Events: stripeapi.EventTypes}
	if remote != nil {
		if report, err = setUp(e, remote, address); err != nil {
			return err
		}
	}
	return e.printAny(report, func(w *tabwriter.Writer) error {
		report.explain(w)
		return nil
	})
}

func setUp(e *env, remote *stripeapi.Client, address string) (r endpointReport, err error) {
	found, err := remote.Endpoints(e.ctx, address)
	if err != nil {
		return r, err
	}
	var made stripeapi.Endpoint
	switch {
	case len(found) == 0:
		r.Action = "created"
		made, err = remote.CreateEndpoint(e.ctx, address)
	case found[0].Complete():
		r.Action, made = "unchanged", found[0]
	default:
		r.Action = "updated"
		made, err = remote.UpdateEndpoint(e.ctx, found[0])
	}
	for _, other := range found[min(1, len(found)):] {
		r.Others = append(r.Others, other.ID)
	}
	r.ID, r.URL, r.Livemode, r.APIVersion, r.Events, r.Secret = made.ID, address, made.Livemode, made.APIVersion, made.Events, made.Secret
	return r, err
}

// explain says what was done and what is left to do.
func (r *endpointReport) explain(w *tabwriter.Writer) {
	mode := "test mode"
	if r.Livemode {
		mode = "live mode"
	}
	switch r.Action {
	case "created":
		row(w, fmt.Sprintf("Stripe now posts %d kinds of events to %s (%s, %s).", len(r.Events), r.URL, r.ID, mode))
		row(w, "Its signing secret, which Stripe does not show to programs again:")
		_, _ = fmt.Fprintf(w, "\n  %s\n\n", r.Secret)
		row(w, "Set it as STRIPE_WEBHOOK_SECRET, or write it to the file that STRIPE_WEBHOOK_SECRET_FILE names,")
		row(w, "for every process with the role ingest, and start those anew.")
	case "updated":
		row(w, fmt.Sprintf("Stripe posts to %s already (%s, %s); it now sends all %d kinds of events.", r.URL, r.ID, mode, len(r.Events)))
		row(w, "Its signing secret is as it was: STRIPE_WEBHOOK_SECRET.")
	case "unchanged":
		row(w, fmt.Sprintf("Stripe posts all that is needed to %s already (%s, %s).", r.URL, r.ID, mode))
		row(w, "Its signing secret is in the dashboard, under Developers, Webhooks: STRIPE_WEBHOOK_SECRET.")
	default:
		r.clicks(w)
	}
	if len(r.Others) > 0 {
		row(w, "The same address has further endpoints, each with a secret of its own: delete "+strings.Join(r.Others, ", ")+" in the dashboard.")
	}
}

// clicks says how to do it by hand.
func (r *endpointReport) clicks(w *tabwriter.Writer) {
	row(w, "STRIPE_SECRET_KEY is not set, so do it in Stripe's dashboard, https://dashboard.stripe.com/webhooks:")
	row(w, "1. Add an endpoint (a destination) with the address "+r.URL)
	row(w, "2. Choose snapshot events, of any API version from 2023-10-16 on ("+stripeapi.APIVersion+" is what Tidegate asks for itself), and these:")
	for _, typ := range r.Events {
		row(w, "   "+typ)
	}
	row(w, "3. Reveal its signing secret and set it as STRIPE_WEBHOOK_SECRET for every process with the role ingest.")
	row(w, "Never choose invoice.created: an unanswered one delays invoices by up to 72 hours.")
}
