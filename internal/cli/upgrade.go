package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/misuse"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// stripeFlags find the running dev and its webhook secret.
type stripeFlags struct {
	Data string `help:"The running dev's data." default:"./.tidegate" env:"TIDEGATE_DATA" placeholder:"DIR"`
}

type upgradeCmd struct {
	stripeFlags
	Customer string `arg:"" help:"Customer id."`
	Plan     string `help:"Plan to buy (default: the first paid one)."`
	Email    string `help:"The customer's address at Stripe."`
	Amount   int64  `help:"What is paid, in cents." default:"2000"`
}

func (c *upgradeCmd) Run(e *env) error {
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return err
	}
	plans := app.BillingConfig(cfg).Plans
	name := c.Plan
	var paid []string
	for _, p := range cfg.Plans {
		if p.Paid() {
			paid = append(paid, p.Name)
		}
	}
	if name == "" && len(paid) > 0 {
		name = paid[0]
	}
	price, ok := plans.PriceOf(name)
	if !ok {
		return misuse.Errorf("no payment leads to the plan %q: choose --plan among %s", name, strings.Join(paid, ", "))
	}
	hooks := fold.UpgradeEvents(fold.Upgrade{Customer: c.Customer, Email: c.Email, Price: price, Amount: c.Amount,
		CustomerKey: cfg.Stripe.CustomerKey, Now: time.Now()})
	return c.post(e, hooks, fmt.Sprintf("%s now pays for %s", c.Customer, name))
}

type downgradeCmd struct {
	stripeFlags
	Customer string `arg:"" help:"Customer id."`
}

func (c *downgradeCmd) Run(e *env) error {
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return err
	}
	hooks := fold.DowngradeEvents(fold.Upgrade{Customer: c.Customer, CustomerKey: cfg.Stripe.CustomerKey, Now: time.Now()})
	return c.post(e, hooks, fmt.Sprintf("%s no longer pays", c.Customer))
}

// post sends the webhooks as Stripe would.
func (f *stripeFlags) post(e *env, hooks []fold.Webhook, done string) error {
	base := os.Getenv("TIDEGATE_URL")
	if base == "" {
		state, err := readState(f.Data)
		if err != nil {
			return err
		}
		base = state.HTTP
	}
	secret, err := os.ReadFile(filepath.Join(f.Data, "stripe_webhook_secret"))
	if err != nil {
		return fmt.Errorf("the running dev's webhook secret: %w: name its data with --data", err)
	}
	type sent struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	client, err := httpClient(10 * time.Second)
	if err != nil {
		return err
	}
	var all []sent
	for _, h := range hooks {
		if err := postWebhook(e, client, base, h, strings.TrimSpace(string(secret))); err != nil {
			return err
		}
		all = append(all, sent{h.Type, h.ID})
	}
	return e.printAny(all, func(w *tabwriter.Writer) error {
		for _, s := range all {
			row(w, "sent", s.Type, s.ID)
		}
		row(w, done)
		return nil
	})
}

func postWebhook(e *env, client *http.Client, base string, h fold.Webhook, secret string) error {
	req, err := http.NewRequestWithContext(e.ctx, http.MethodPost, strings.TrimSuffix(base, "/")+"/webhooks/stripe", bytes.NewReader(h.Payload))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Stripe-Signature", fold.Sign(h.Payload, secret, time.Now()))
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w: is `tidegate dev` running?", base, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %w", h.Type, apiError(resp, body))
	}
	return nil
}
