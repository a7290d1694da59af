package notifier

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/gate"
)

// DefaultConvertWithin is the default of Settings.ConvertWithin.
const DefaultConvertWithin = 30 * 24 * time.Hour

// Settings are the options that an edited configuration can change while the
// notifier runs.
type Settings struct {
	From        string        // RFC 5322 address of the sender
	PublicURL   string        // base of the links in mails; "": links lead to the gate's upgrade page
	TemplateDir string        // of the operator's templates; "" or missing: the built-in ones
	CoolDown    time.Duration // shortest time between two mails to a customer
	Quiet       *Quiet        // hours without mail; nil: none
	// ConvertWithin is how long before a payment a customer may have reached the limit
	// that led to it; 0: DefaultConvertWithin.
	ConvertWithin time.Duration
	// Lookup returns how to look up addresses of a feature's customers that neither
	// the app nor Stripe has given, or nil. Lookup itself may be nil.
	Lookup func(feature string) Lookup
}

// Lookup returns a customer's address, or "" when there is none yet.
type Lookup func(ctx context.Context, customer string) (string, error)

func (s *Settings) lookup(feature string) Lookup {
	if s.Lookup == nil {
		return nil
	}
	return s.Lookup(feature)
}

// live holds the current settings and the renderer made from them.
type live struct {
	Settings
	render *renderer
}

// SettingError is a mistake in one key of the configuration.
type SettingError struct {
	Field   string // path of the key, such as mail.templates
	Message string // what is wrong and how to correct it
}

// SettingErrors are all mistakes in the settings. As an error it is never empty.
type SettingErrors []SettingError

func (es SettingErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Field + ": " + e.Message
	}
	return strings.Join(lines, "; ")
}

// newLive checks the settings against the catalog and reads the templates. The error
// about a template names its file and line.
func newLive(s Settings, secret []byte, catalog func() gate.Catalog) (*live, error) {
	if catalog == nil {
		return nil, errors.New("notifier: Catalog is required")
	}
	if s.ConvertWithin == 0 {
		s.ConvertWithin = DefaultConvertWithin
	}
	if _, err := mail.ParseAddress(s.From); err != nil {
		return nil, fmt.Errorf("`from` %q is not an address such as \"Acme <billing@acme.example>\": %w", s.From, err)
	}
	t, err := loadTemplates(s.TemplateDir)
	if err != nil {
		return nil, err
	}
	c := catalog()
	var wrong SettingErrors
	for i := range c.Gates {
		if name := c.Gates[i].Template; name != "" && !t.has(name) {
			wrong = append(wrong, SettingError{fmt.Sprintf("gates[%d].action.upgrade_prompt.template", i),
				fmt.Sprintf("there is no mail template %q: add %s.html or %s.txt to %s, or name another template",
					name, name, name, orElse(s.TemplateDir, "a folder and name it as `mail.templates`"))})
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	r := &renderer{templates: t, from: s.From, publicURL: strings.TrimRight(s.PublicURL, "/"), secret: secret}
	return &live{Settings: s, render: r}, nil
}

// Check returns the error with which Configure would refuse settings for the gates
// of a catalog: SettingErrors when keys of the configuration are wrong.
func Check(s Settings, catalog func() gate.Catalog) error {
	_, err := newLive(s, nil, catalog)
	return err
}

// Configure replaces the settings and reads the templates again. After an error the
// old settings stay in force. It is safe for concurrent use.
func (p *Processor) Configure(s Settings) error {
	l, err := newLive(s, p.Secret, p.Catalog)
	if err != nil {
		return err
	}
	p.live.Store(l)
	p.lookAgain.Store(true)
	p.wake()
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
