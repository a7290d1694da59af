package cli

import (
	"context"
	"fmt"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/stream"
	stripeapi "github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/refetch"
)

func (c *doctorCmd) stripe(e *env, ctx context.Context) (string, string) {
	hook, err := environ.Lookup("STRIPE_WEBHOOK_SECRET")
	if err != nil {
		return stateFailed, err.Error()
	}
	key, err := environ.Lookup("STRIPE_SECRET_KEY")
	if err != nil {
		return stateFailed, err.Error()
	}
	if key == "" {
		if cfg, err := config.OpenOrExample(e.Config); err == nil && (cfg.Upgrade.Price != "" || cfg.Upgrade.Portal) {
			return stateWarning, "upgrade.price or upgrade.portal is set, but STRIPE_SECRET_KEY is not: links in mails lead to upgrade.url"
		}
		if hook == "" {
			return stateSkipped, "neither STRIPE_WEBHOOK_SECRET nor STRIPE_SECRET_KEY is set: `serve` refuses webhooks"
		}
		return stateOK, "webhook secret set; STRIPE_SECRET_KEY is not, so nothing is asked of Stripe"
	}
	base, err := environ.Lookup("STRIPE_API_BASE")
	if err != nil {
		return stateFailed, err.Error()
	}
	remote, err := stripeapi.New(stripeapi.Options{Key: key, Base: base})
	if err != nil {
		return stateFailed, err.Error()
	}
	if err := remote.Probe(ctx); err != nil {
		return stateFailed, err.Error()
	}
	return c.refetch(e, ctx)
}

// refetch says how asking Stripe goes.
func (c *doctorCmd) refetch(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateOK, "the key is accepted"
	}
	defer l.close()
	s, err := refetch.StatusQuestion.Ask(ctx, l.asker(), 0, stream.None{})
	if err != nil {
		return stateWarning, "the key is accepted, but no process with the role enforcer has it: set STRIPE_SECRET_KEY there, too"
	}
	if s.Error != "" {
		return stateWarning, fmt.Sprintf("the key is accepted here, but the enforcer says: %s", s.Error)
	}
	detail := fmt.Sprintf("the key is accepted; %d objects are to be fetched", s.Pending)
	if !s.Reconciled.IsZero() {
		detail += ", events are compared up to " + s.Reconciled.UTC().Format("2006-01-02 15:04")
	}
	return stateOK, detail
}
