package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/plan"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/notifier"
)

// startNotifier runs the notifier, one for all partitions.
func (a *app) startNotifier(ctx context.Context) error {
	sender, err := a.sender()
	if err != nil {
		return err
	}
	kv, err := a.js.KeyValue(ctx, a.names.Bucket(events.BucketDecisions))
	if err != nil {
		return err
	}
	options := func() notifier.Options {
		o := mailOptions(a.config.Load(), a.set.Secret)
		o.Catalog = func() plan.Catalog { return *a.catalog.Load() }
		o.Store, o.Sender, o.Now, o.Decisions = a.store, sender, a.now, newest{kv}
		if a.set.Dev && o.PublicURL == "" {
			o.PublicURL = "http://" + a.HTTPAddr // its links work on this machine
		}
		return o
	}
	if _, err := notifier.New(options()); err != nil { // a wrong template is told now
		return err
	}
	a.supervisor.Go(ctx, notifier.Spec(a.names), func() stream.Processor {
		p, err := notifier.New(options())
		if err != nil {
			return failed{err: err}
		}
		return p
	})
	return nil
}

// failed is a processor that could not be made; its partition says why.
type failed struct {
	stream.Processor
	err error
}

// Restore returns the reason.
func (f failed) Restore([]byte) error { return f.err }

func mailOptions(c *config.Config, secret []byte) notifier.Options {
	return notifier.Options{From: c.From, PublicURL: c.PublicURL, Secret: secret, TemplateDir: c.Mail.Templates, CoolDown: c.Mail.CoolDown}
}

// sender is Resend, or without a key a folder.
func (a *app) sender() (notifier.Sender, error) {
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
	if !a.set.Dev {
		a.log.Warn("mails_are_only_written_to_files", "dir", dir, "reason", "RESEND_API_KEY is not set")
	}
	return s, nil
}

// resendWebhook takes what Resend reports of mails; nil without a secret.
func (a *app) resendWebhook() http.Handler {
	if len(a.set.ResendSecrets) == 0 {
		return nil
	}
	return &notifier.ResendWebhook{
		Secrets: a.set.ResendSecrets, Find: a.store.Notification, Log: a.log,
		Publish: func(ctx context.Context, id string, account *events.Account) error {
			b, err := json.Marshal(account)
			if err != nil {
				return err
			}
			subject := a.names.Account(events.PartitionOf(account.Customer, a.partitions))
			_, err = a.js.Publish(ctx, subject, b, jetstream.WithMsgID("resend/"+id))
			return err
		},
	}
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

type previewCmd struct {
	Dir     string `help:"Where the mails are written." default:"mail-preview" placeholder:"DIR"`
	Feature string `help:"Only the mail of this gate (default: of every gate that sends one)."`
	Locale  string `help:"Language, such as de (default: the templates without one)."`
}

func (c *previewCmd) Run(e *env) error {
	set := settings{Config: e.Config, Dev: true}
	cfg, err := set.loadConfig()
	if err != nil {
		return err
	}
	o := mailOptions(cfg, []byte("preview"))
	o.Catalog, o.Now = cfg.Catalog, time.Now
	features := []string{c.Feature}
	if c.Feature == "" {
		features = nil
		for _, g := range cfg.Gates {
			if g.Template != "" {
				features = append(features, g.Feature)
			}
		}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	type preview struct {
		Feature string `json:"feature"`
		Subject string `json:"subject"`
		HTML    string `json:"html"`
		Text    string `json:"text"`
	}
	written := []preview{}
	for _, f := range features {
		m, err := notifier.Preview(o, f, c.Locale)
		if err != nil {
			return err
		}
		p := preview{f, m.Subject, filepath.Join(c.Dir, events.Token(f)+".html"), filepath.Join(c.Dir, events.Token(f)+".txt")}
		if err := errors.Join(os.WriteFile(p.HTML, []byte(m.HTML), 0o644), os.WriteFile(p.Text, []byte(m.Text), 0o644)); err != nil {
			return err
		}
		written = append(written, p)
	}
	return e.printAny(written, func(w *tabwriter.Writer) error {
		row(w, "FEATURE", "SUBJECT", "HTML", "TEXT")
		for _, p := range written {
			row(w, p.Feature, p.Subject, p.HTML, p.Text)
		}
		return nil
	})
}
