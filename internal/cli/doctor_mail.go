package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/notifier"
)

// mail checks what mails need besides the provider's key: templates, links,
// reports of the provider, addresses, and whether they go out.
func (c *doctorCmd) mail(e *env, ctx context.Context) (string, string) {
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return stateSkipped, "the configuration cannot be read"
	}
	if err := app.CheckMails(cfg); err != nil {
		return stateFailed, err.Error()
	}
	if err := mailPlaces(ctx, cfg); err != nil {
		return stateFailed, err.Error()
	}
	missing, err := mailVariables(cfg)
	if err != nil {
		return stateFailed, err.Error()
	}
	if s := app.MissingTemplates(cfg); s != "" {
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
		if values[i], err = environ.Lookup(name); err != nil {
			return nil, err
		}
	}
	for _, s := range environ.List(values[2]) {
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

// mailPlaces reads from the collections of `email_from`.
func mailPlaces(ctx context.Context, cfg *config.Config) (err error) {
	var set app.Settings
	for name, to := range map[string]*string{"APP_MONGODB_URI": &set.AppMongoURI, "MONGODB_URI": &set.MongoURI, "MONGODB_DATABASE": &set.MongoDatabase} {
		if *to, err = environ.Lookup(name); err != nil {
			return err
		}
	}
	return app.CheckAddresses(ctx, cfg, set)
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

func (c *doctorCmd) resend(_ *env, ctx context.Context) (string, string) {
	key, err := environ.Lookup("RESEND_API_KEY")
	if err != nil {
		return stateFailed, err.Error()
	}
	if key == "" {
		return stateSkipped, "RESEND_API_KEY is not set: mails are written to files"
	}
	base := os.Getenv("RESEND_BASE_URL")
	if base == "" {
		base = "https://api.resend.com"
	}
	return probe(ctx, strings.TrimSuffix(base, "/")+"/domains", key)
}

// probe asks an API whether it takes the key.
func probe(ctx context.Context, url, key string) (string, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return stateFailed, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return stateFailed, fmt.Sprintf("no answer: %v", errors.Unwrap(err))
	}
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return stateFailed, fmt.Sprintf("the key is refused (%s)", resp.Status)
	case resp.StatusCode >= 300:
		return stateWarning, "answered " + resp.Status
	}
	return stateOK, "the key is accepted"
}
