package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/notifier"
)

// mail checks what mails need besides the provider's key: templates, links,
// reports of the provider, addresses, and whether they go out.
func (c *doctorCmd) mail(e *env, ctx context.Context) (string, string) {
	cfg, err := (&settings{Config: e.Config, Dev: true}).loadConfig()
	if err != nil {
		return stateSkipped, "the configuration cannot be read"
	}
	if err := checkMails(cfg, mailSettings(cfg)); err != nil {
		return stateFailed, err.Error()
	}
	if err := mailPlaces(ctx, cfg); err != nil {
		return stateFailed, err.Error()
	}
	missing, err := mailVariables(cfg)
	if err != nil {
		return stateFailed, err.Error()
	}
	if s := missingTemplates(cfg); s != "" {
		missing = append(missing, "mail.templates: "+s)
	}
	state := stateOK
	if len(missing) > 0 {
		state = stateWarning
	}
	status, err := c.mailStatus(e, ctx)
	switch {
	case err != nil:
		state = stateWarning
		missing = append(missing, err.Error())
	case status.PausedUntil != nil:
		state = stateWarning
		missing = append(missing, fmt.Sprintf("paused until %s, %d mails are parked: %s", status.PausedUntil.Format(time.RFC3339), status.Parked, status.PausedFor))
	default:
		missing = append(missing, fmt.Sprintf("%d mails wait for an address", status.Waiting))
	}
	return state, strings.Join(missing, "; ")
}

// mailVariables says what mails lack without being impossible.
func mailVariables(cfg *config.Config) (missing []string, err error) {
	var values [3]string
	for i, name := range [...]string{"RESEND_API_KEY", "TIDEGATE_SECRET", "RESEND_WEBHOOK_SECRET"} {
		if values[i], err = lookup(name); err != nil {
			return nil, err
		}
	}
	for _, s := range list(values[2]) {
		if err := notifier.CheckWebhookSecret(s); err != nil {
			return nil, fmt.Errorf("RESEND_WEBHOOK_SECRET: %w", err)
		}
	}
	if values[0] == "" {
		return nil, nil // files need nothing
	}
	if values[1] == "" || cfg.PublicURL == "" {
		missing = append(missing, "without public_url and TIDEGATE_SECRET mails have no link to unsubscribe")
	}
	if values[2] == "" {
		missing = append(missing, "without RESEND_WEBHOOK_SECRET nobody learns of bounces and complaints")
	}
	return missing, nil
}

// mailPlaces asks for the collections of `email_from`.
func mailPlaces(ctx context.Context, cfg *config.Config) (err error) {
	all := places(cfg)
	if len(all) == 0 {
		return nil
	}
	var values [3]string
	for i, name := range [...]string{"APP_MONGODB_URI", "MONGODB_URI", "MONGODB_DATABASE"} {
		if values[i], err = lookup(name); err != nil {
			return err
		}
	}
	r, err := openAddresses(values[0], values[1], values[2])
	if err != nil {
		return err
	}
	if r == nil {
		return errors.New("email_from needs a MongoDB: set APP_MONGODB_URI or MONGODB_URI")
	}
	defer func() { _ = r.Close(ctx) }()
	for _, feature := range slices.Sorted(maps.Keys(all)) {
		if err := r.Check(ctx, all[feature]); err != nil {
			return fmt.Errorf("gate %s: %w", feature, err)
		}
	}
	return nil
}

func (c *doctorCmd) mailStatus(e *env, ctx context.Context) (s notifier.Status, err error) {
	l, err := c.connect(e)
	if err != nil {
		return s, errors.New("NATS is not reachable")
	}
	defer l.close()
	if s, err = notifier.StatusQuestion.Ask(ctx, l.asker(), 0, stream.None{}); err != nil {
		return s, errors.New("nobody runs the notifier, which knows whether mails go out")
	}
	return s, nil
}
