package cli

import (
	"errors"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/notifier"
)

type previewCmd struct {
	Dir     string `help:"Where the mails are written." default:"mail-preview" placeholder:"DIR"`
	Feature string `help:"Only the mails of this gate (default: of every gate that sends some)."`
	Locale  string `help:"Language, such as de (default: each one that there are templates in)."`
}

// preview is what was written of a mail: files <feature>[.warning][.<locale>].
type preview struct {
	Feature string `json:"feature"`
	Kind    string `json:"kind"`
	Locale  string `json:"locale"`
	Subject string `json:"subject"`
	HTML    string `json:"html"`
	Text    string `json:"text"`
}

func (c *previewCmd) Run(e *env) error {
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return err
	}
	if err := app.CheckMails(cfg); err != nil {
		return err
	}
	mails, err := notifier.Previews(notifier.Options{Settings: app.MailSettings(cfg), Secret: []byte("preview"), Catalog: cfg.Catalog}, c.Feature, c.Locale)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	written := []preview{}
	for _, m := range mails {
		p := preview{Feature: m.Feature, Kind: string(m.Kind), Locale: m.Locale, Subject: m.Subject}
		file := events.Token(m.Feature)
		if m.Kind == records.LimitKindThreshold {
			file += ".warning"
		}
		if m.Locale != "" {
			file += "." + events.Token(m.Locale)
		}
		p.HTML, p.Text = filepath.Join(c.Dir, file+".html"), filepath.Join(c.Dir, file+".txt")
		if err := errors.Join(os.WriteFile(p.HTML, []byte(m.HTML), 0o644), os.WriteFile(p.Text, []byte(m.Text), 0o644)); err != nil {
			return err
		}
		written = append(written, p)
	}
	return e.printAny(written, func(w *tabwriter.Writer) error {
		row(w, "FEATURE", "KIND", "LOCALE", "SUBJECT", "HTML", "TEXT")
		for _, p := range written {
			row(w, p.Feature, p.Kind, p.Locale, p.Subject, p.HTML, p.Text)
		}
		return nil
	})
}
