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

// DefaultConvertWithin is how long before a payment the limit that led to it
// may have been reached, unless configured otherwise.
const DefaultConvertWithin = 30 * 24 * time.Hour

// Settings are what an edited configuration may change while the notifier
// runs.
type Settings struct {
	From        string        // RFC 5322 address of the sender
	PublicURL   string        // base of links in mails; "": they lead to the gate's upgrade page
	TemplateDir string        // the operator's templates; "", or one that is not there: the built-in ones
	CoolDown    time.Duration // least time between two mails to a customer
	Quiet       *Quiet        // hours without mail; nil: none
	// ConvertWithin is how long before a payment the limit that led to it may
	// have been reached; 0 is DefaultConvertWithin.
	ConvertWithin time.Duration
	// Lookup is where addresses of a feature's customers are found that neither
	// the app nor Stripe has given; nil for none, or when it returns nil.
	Lookup func(feature string) Lookup
}

// Lookup finds a customer's address; "" when there is none yet.
type Lookup func(ctx context.Context, customer string) (string, error)

func (s *Settings) lookup(feature string) Lookup {
	if s.Lookup == nil {
		return nil
	}
	return s.Lookup(feature)
}

// live is what is in force: the settings, and what was made of them.
type live struct {
	Settings
	render *renderer
}

// SettingError says what is wrong with one key of the configuration, and what
// to do about it.
type SettingError struct {
	Field   string // path of the key, such as mail.templates
	Message string
}

// SettingErrors are all that were found; never empty as an error.
type SettingErrors []SettingError

func (es SettingErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Field + ": " + e.Message
	}
	return strings.Join(lines, "; ")
}

// newLive checks the settings against the catalog and reads the templates; a
// mistake in one is reported with its file and line.
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
	if err := t.try(); err != nil {
		return nil, err
	}
	r := &renderer{templates: t, from: s.From, publicURL: strings.TrimRight(s.PublicURL, "/"), secret: secret}
	return &live{Settings: s, render: r}, nil
}

// Check says what is wrong with settings for the gates of a catalog: what
// Configure would refuse. It is a SettingErrors where a key is to blame.
func Check(s Settings, catalog func() gate.Catalog) error {
	_, err := newLive(s, nil, catalog)
	return err
}

// Configure makes other settings count from now on; it reads the templates
// anew. After an error the old ones stay in force. It is safe to call at any
// time from any goroutine.
func (p *Processor) Configure(s Settings) error {
	l, err := newLive(s, p.Secret, p.Catalog)
	if err != nil {
		return err
	}
	p.live.Store(l)
	p.seek.Store(true)
	p.wake()
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
