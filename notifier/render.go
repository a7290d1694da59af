package notifier

import (
	"bytes"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/link"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Data holds the values for templates. Numbers are formatted for people. A time that
// is not known is zero: {{if not .UnblocksAt.IsZero}}.
type Data struct {
	Customer       string // id
	Feature        string
	Plan           string
	Limit          string
	Used           string    // "" when not known
	Percent        int       // of the limit: 100, or the warning level
	WindowStart    time.Time // UTC, as all times
	WindowEnd      time.Time
	UnblocksAt     time.Time
	Message        string // of the gate
	UpgradeURL     string // "" without one
	UnsubscribeURL string // "" without a public URL
}

const (
	// People open old mails, and must be able to unsubscribe in them.
	upgradeLinkLife     = 90 * 24 * time.Hour
	unsubscribeLinkLife = 400 * 24 * time.Hour
)

// renderer renders mails from templates.
type renderer struct {
	templates templates
	from      string
	publicURL string
	secret    []byte
}

// message renders the mail of a notification.
func (r *renderer) message(template string, g *gate.Gate, n *records.Notification, d *events.Decision, locale, to string, now time.Time) (*Message, error) {
	if _, err := mail.ParseAddress(to); err != nil {
		return nil, fmt.Errorf("the customer's address is not valid: %w", err)
	}
	m, err := r.render(template, locale, r.data(g, n, d, now))
	if err != nil {
		return nil, err
	}
	m.To = []string{to}
	m.Tags = []Tag{{Name: keyTag, Value: strings.Replace(n.Key, "/", "_", 1)}}
	return m, nil
}

func (r *renderer) data(g *gate.Gate, n *records.Notification, d *events.Decision, now time.Time) *Data {
	out := &Data{
		Customer: n.Customer, Feature: n.Feature, Plan: n.Plan, Limit: n.Limit.String(), Percent: n.Percent,
		WindowStart: n.WindowStart, WindowEnd: n.WindowEnd, Message: g.Message, UpgradeURL: g.UpgradeURL,
	}
	if d != nil {
		if d.Used.Valid {
			out.Used = d.Used.Value.String()
		}
		if d.Limit.Valid {
			out.Limit = d.Limit.Value.String()
		}
		if d.UnblocksAt != nil {
			out.UnblocksAt = d.UnblocksAt.UTC()
		}
	}
	if n.Kind == records.LimitKindThreshold && out.UnblocksAt.IsZero() && g.Window.Kind != gate.Rolling {
		out.UnblocksAt = n.WindowEnd // a warning blocks nobody
	}
	l := link.Link{Kind: link.Upgrade, Customer: n.Customer, Feature: n.Feature, WindowStart: n.WindowStart, Expires: now.Add(upgradeLinkLife)}
	if url := r.link("/u/", l); url != "" {
		out.UpgradeURL = url
	}
	l.Kind, l.Expires = link.Unsubscribe, now.Add(unsubscribeLinkLife)
	out.UnsubscribeURL = r.link("/unsubscribe/", l)
	return out
}

// link returns a signed link, or "" without a public URL or secret.
func (r *renderer) link(path string, l link.Link) string {
	if r.publicURL == "" || len(r.secret) == 0 {
		return ""
	}
	return r.publicURL + path + link.Sign(r.secret, l)
}

func (r *renderer) render(template, locale string, d *Data) (*Message, error) {
	var parts [3]string
	for i, ending := range [...]string{partSubject, partText, partHTML} {
		x := r.templates.find(template, locale, ending)
		if x == nil {
			return nil, fmt.Errorf("template %s has no %s", template, strings.TrimPrefix(ending, "."))
		}
		var b bytes.Buffer
		if err := x.Execute(&b, d); err != nil {
			return nil, tidyError(err)
		}
		parts[i] = b.String()
	}
	m := &Message{From: r.from, Subject: strings.Join(strings.Fields(parts[0]), " "), Text: parts[1], HTML: parts[2]}
	if d.UnsubscribeURL != "" { // RFC 8058
		m.Headers = map[string]string{
			"List-Unsubscribe":      "<" + d.UnsubscribeURL + ">",
			"List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		}
	}
	return m, nil
}

func sample(customer, feature string) *Data {
	start := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	end := start.Add(30 * 24 * time.Hour)
	return &Data{
		Customer: customer, Feature: feature, Plan: "free", Limit: "100", Used: "100", Percent: 100,
		WindowStart: start, WindowEnd: end, UnblocksAt: end,
		Message:        "You've reached your free tier limit. Upgrade to continue.",
		UpgradeURL:     "https://example.com/upgrade",
		UnsubscribeURL: "https://example.com/unsubscribe",
	}
}
