package notifier

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// An edited configuration counts for the next mail; a wrong one changes nothing.
func TestConfigure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	b.untilState(b.reach("api"), records.MailSent)
	dir := t.TempDir()
	write(t, dir, "upgrade_prompt.txt", "Edited: {{.Feature}}")
	s := b.options.Settings
	s.From, s.PublicURL, s.TemplateDir = "Other <other@acme.example>", "https://other.acme.example", dir
	b.must(b.p.Configure(s))
	b.untilState(b.reach("exports"), records.MailSent)
	m := b.resend.inbox[1]
	if m.From != s.From || m.Text != "Edited: exports" || !strings.HasPrefix(m.Headers["List-Unsubscribe"], "<https://other.acme.example/unsubscribe/") {
		t.Errorf("%+v", m)
	}
	wrong := s
	write(t, dir, "upgrade_prompt.html", "{{if}}")
	wrong.CoolDown = time.Hour
	if err := b.p.Configure(wrong); err == nil || !strings.Contains(err.Error(), "upgrade_prompt.html:1") {
		t.Errorf("a broken template: %v", err)
	}
	if err := Check(wrong, catalog); err == nil {
		t.Error("Check finds nothing")
	}
	b.untilState(b.reach("warned"), records.MailSent)
	if m := b.resend.inbox[2]; m.Text != "Edited: warned" {
		t.Errorf("%+v", m)
	}
	s.From = "nobody"
	if err := b.p.Configure(s); err == nil || !strings.Contains(err.Error(), "`from`") {
		t.Errorf("a wrong sender: %v", err)
	}
}

// What falls into quiet hours goes out when they end, if it is still wanted.
func TestMailWaitsForQuietHoursToEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.Quiet = night() })
	b.address()
	end := noon.Add(2 * time.Hour)
	api, exports := b.reach("api"), b.reach("exports")
	for _, key := range []string{api, exports} {
		b.until(key, "put off", func(n *records.Notification) bool { return n.NextAt != nil && n.NextAt.Equal(end) })
	}
	b.allow("exports")
	b.advance(2 * time.Hour)
	b.untilState(api, records.MailSent)
	b.untilState(exports, records.MailCancelled)
}

// A template that works with sample data and not with real data holds the mail
// back until it is corrected.
func TestBrokenTemplate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "upgrade_prompt.txt", `{{if eq .Feature "exports"}}{{index .Feature 99}}{{end}}`)
	b := newBench(t, func(o *Options) { o.TemplateDir = dir })
	b.address()
	key := b.reach("exports")
	n := b.until(key, "put off", func(n *records.Notification) bool { return n.Error != "" })
	if n.State != records.MailPending || !strings.Contains(n.Error, "upgrade_prompt.txt:1") || n.Attempts != 0 {
		t.Errorf("document %+v", n)
	}
	write(t, dir, "upgrade_prompt.txt", `{{.Feature}}`)
	b.must(b.p.Configure(b.options.Settings))
	b.advance(brokenWait)
	b.untilState(key, records.MailSent)
}
