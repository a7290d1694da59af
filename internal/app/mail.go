package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/notifier"
)

// startNotifier runs the notifier, one for all partitions.
func (a *App) startNotifier(ctx context.Context) error {
	sender, err := a.sender()
	if err != nil {
		return err
	}
	addresses, err := a.appAddresses()
	if err != nil {
		return err
	}
	settings := func(c *config.Config) notifier.Settings {
		s := MailSettings(c)
		s.Lookup = addresses.lookup(c)
		if a.embedded && s.PublicURL == "" {
			s.PublicURL = a.URL() // its links work on this machine
		}
		return s
	}
	check := func(c *config.Config) error { return checkMails(c, settings(c)) }
	cfg := a.config.Load()
	if err := check(cfg); err != nil { // a wrong template is told now
		return err
	}
	a.checks = append(a.checks, check)
	if a.set.ResendKey != "" && (len(a.set.Secret) == 0 || settings(cfg).PublicURL == "") {
		a.log.Warn("mails_have_no_unsubscribe_link", "fix", "set public_url in the configuration and TIDEGATE_SECRET")
	}
	addresses.warn(ctx, cfg, a.log)
	a.warnTemplates(cfg)
	a.supervisor.Go(ctx, notifier.Spec(a.names), func() stream.Processor {
		cfg := a.config.Load()
		p, err := notifier.New(notifier.Options{Settings: settings(cfg), Partitions: a.partitions, Secret: a.set.Secret,
			Catalog: func() gate.Catalog { return *a.catalog.Load() },
			Store:   a.store, Sender: sender, Now: a.now, Decisions: newest{a.decisions}})
		if err != nil {
			return failed{err: err}
		}
		a.notifier.Store(p)
		if now := a.config.Load(); now != cfg { // edited in between
			a.configureMail(p, settings(now))
		}
		return p
	})
	a.metrics.RegisterMetricsWriter(a.writeMail)
	a.reconfigure = append(a.reconfigure, func(c *config.Config) {
		a.warnTemplates(c)
		if p := a.notifier.Load(); p != nil {
			a.configureMail(p, settings(c))
		}
	})
	return nil
}

// writeMail writes how sending stands, where this process sends.
func (a *App) writeMail(w io.Writer) {
	p := a.notifier.Load()
	if p == nil {
		return
	}
	s, ok := p.Status()
	if !ok {
		return
	}
	paused := uint64(0)
	if s.PausedUntil != nil {
		paused = 1
	}
	metrics.WriteGaugeUint64(w, "tidegate_mail_paused", paused)
	metrics.WriteGaugeUint64(w, "tidegate_mail_parked", uint64(s.Parked))
	metrics.WriteGaugeUint64(w, "tidegate_mail_waiting", uint64(s.Waiting))
}

func (a *App) configureMail(p *notifier.Processor, s notifier.Settings) {
	if err := p.Configure(s); err != nil { // it was checked: a template has just changed
		a.log.Warn("mail_settings_ignored", "error", err)
	}
}

// failed is a processor that could not be made; its partition says why.
type failed struct {
	stream.Processor
	err error
}

// Restore returns the reason.
func (f failed) Restore([]byte) error { return f.err }

// MailSettings returns what the configuration says about mails.
func MailSettings(c *config.Config) notifier.Settings {
	s := notifier.Settings{From: c.From, PublicURL: c.PublicURL, TemplateDir: c.Mail.Templates, CoolDown: c.Mail.CoolDown, ConvertWithin: c.Conversion}
	if q := c.Mail.Quiet; q != nil {
		s.Quiet = &notifier.Quiet{From: q.From, To: q.To, Zone: q.Zone}
	}
	return s
}

// CheckMails returns an error if the mails that the configuration asks for cannot
// be made. It names the lines that are to blame.
func CheckMails(c *config.Config) error { return checkMails(c, MailSettings(c)) }

func checkMails(c *config.Config, s notifier.Settings) error {
	err := notifier.Check(s, c.Catalog)
	var wrong notifier.SettingErrors
	if !errors.As(err, &wrong) {
		return err
	}
	problems := make([]config.Problem, len(wrong))
	for i, w := range wrong {
		problems[i] = c.Problem(w.Field, w.Message)
	}
	return c.Refuse(problems)
}

// MissingTemplates returns a warning if the folder of mail templates does not
// exist, else "". Mails work without it, but its name may be misspelled.
func MissingTemplates(c *config.Config) string {
	if c.Mail.Templates == "" {
		return ""
	}
	if _, err := os.Stat(c.Mail.Templates); !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return "there is no folder " + c.Mail.Templates + ": mails are made of the built-in templates; make the folder, or take the key out"
}

func (a *App) warnTemplates(c *config.Config) {
	if missing := MissingTemplates(c); missing != "" {
		a.log.Warn("mail_templates_missing", "reason", missing)
	}
}

// sender is Resend, or without a key a folder.
func (a *App) sender() (notifier.Sender, error) {
	if a.set.ResendKey != "" {
		s, err := notifier.NewResendSender(a.set.ResendKey, a.set.ResendBase)
		if err != nil {
			return nil, fmt.Errorf("RESEND_BASE_URL: %w", err)
		}
		a.onStop("resend", func(context.Context) error { s.Close(); return nil })
		return s, nil
	}
	dir := filepath.Join(a.set.Data, "outbox")
	s, err := notifier.NewFileSender(dir)
	if err != nil {
		return nil, fmt.Errorf("without RESEND_API_KEY mails are written to files: %w: set the key, or --data to a folder that can be written", err)
	}
	if !a.embedded {
		a.log.Warn("mails_are_only_written_to_files", "dir", dir, "reason", "RESEND_API_KEY is not set")
	}
	return s, nil
}

// resendWebhook takes what Resend reports of mails; nil without a secret.
func (a *App) resendWebhook() func(http.ResponseWriter, *http.Request) (int, error) {
	if len(a.set.ResendSecrets) == 0 {
		return nil
	}
	for _, s := range a.set.ResendSecrets {
		if err := notifier.CheckWebhookSecret(s); err != nil {
			a.log.Error("reports_of_mails_will_be_refused", "error", fmt.Errorf("RESEND_WEBHOOK_SECRET: %w", err))
		}
	}
	hook := &notifier.ResendWebhook{
		Secrets: a.set.ResendSecrets, Find: a.store.Notification, Log: a.log,
		Publish: func(ctx context.Context, account *records.Account) error {
			b, err := json.Marshal(account)
			if err != nil {
				return err
			}
			subject := a.names.Account(events.PartitionOf(account.Customer, a.partitions))
			_, err = a.js.Publish(ctx, subject, b)
			return err
		},
	}
	return hook.Receive
}

// newest reads decisions from the bucket itself.
type newest struct{ kv jetstream.KeyValue }

// Decision implements notifier.Decisions.
func (n newest) Decision(ctx context.Context, customer, feature string) (d events.Decision, ok bool, err error) {
	e, err := n.kv.Get(ctx, events.DecisionKey(customer, feature))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	return d, true, json.Unmarshal(e.Value(), &d)
}
