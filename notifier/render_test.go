package notifier

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/gate"
)

func preview(dir string) Options {
	return Options{Catalog: catalog, Settings: Settings{From: "Acme <billing@acme.example>", TemplateDir: dir}}
}

// previewOf is the first mail of a gate ("": of any).
func previewOf(o Options, feature, locale string) (*Message, error) {
	all, err := Previews(o, feature, locale)
	if err != nil || len(all) == 0 {
		return &Message{}, err
	}
	return all[0].Message, nil
}

func rendererOf(t *testing.T, o Options) *renderer {
	t.Helper()
	l, err := newLive(o.Settings, o.Secret, o.Catalog)
	if err != nil {
		t.Fatal(err)
	}
	return l.render
}

func TestPreviews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "upgrade_prompt.de.txt", "Das Kontingent {{.Feature}} ist erreicht.")
	all, err := Previews(preview(dir), "", "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.Feature+"/"+string(m.Kind)+"/"+m.Locale)
		if m.Subject == "" || m.Text == "" || m.HTML == "" || len(m.To) != 1 {
			t.Errorf("%+v", m)
		}
	}
	if want := "api/reached/ api/reached/de exports/reached/ exports/reached/de warned/reached/ warned/reached/de warned/threshold/ warned/threshold/de"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	if m := all[0]; m.Subject != "You've reached your api limit on the free plan" || !strings.Contains(m.HTML, "https://acme.example/pricing") || !strings.Contains(m.Text, "100 of 100") {
		t.Errorf("%+v", m)
	}
	if m := all[6]; !strings.Contains(m.Subject, "80%") || !strings.Contains(m.Text, "80 of 100") {
		t.Errorf("warning: %+v", m)
	}
	if all, err = Previews(preview(""), "exports", "de"); err != nil || len(all) != 1 || !strings.Contains(all[0].Text, "5 of 5") {
		t.Errorf("exports: %+v, %v", all, err)
	}
	if _, err = Previews(preview(""), "quiet", ""); err == nil {
		t.Error("a gate without a mail has a preview")
	}
}

// The plain text reads well, whatever is missing.
func TestBuiltInText(t *testing.T) {
	t.Parallel()
	r := rendererOf(t, preview(""))
	full := sample("acme", "api")
	sparse := &Data{Feature: "api", Percent: 100, Limit: "100"}
	for _, c := range []struct {
		d    *Data
		want string
	}{
		{full, `You've reached your free tier limit. Upgrade to continue.

  Feature  api
  Plan     free
  Used     100 of 100
  Resets   4 February 2026 (UTC)

Upgrade now, and you can go on at once:
https://example.com/upgrade

If you don't upgrade, api works again from 4 February 2026.

--
No more mail about your limits: https://example.com/unsubscribe
`},
		{sparse, `You've reached your api limit.

  Feature  api
  Used     100
`},
	} {
		m, err := r.render(DefaultTemplate, "", c.d)
		if err != nil || m.Text != c.want {
			t.Errorf("%v\n got %q\nwant %q", err, m.Text, c.want)
		}
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]string{"": "", "5": "5", "999": "999", "1000": "1,000", "1234567": "1,234,567", "-123456": "-123,456", "12345.6789": "12,345.6789"} {
		if got := group(",", number); got != want {
			t.Errorf("%s: %s, want %s", number, got, want)
		}
	}
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	r := rendererOf(t, preview(""))
	d := sample("acme", "<script>alert(1)</script>\r\nBcc: all@acme.example")
	d.UpgradeURL = "javascript:alert(1)"
	m, err := r.render(DefaultTemplate, "", d)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(m.HTML, "<script>") || strings.Contains(m.HTML, `"javascript:`) || strings.ContainsAny(m.Subject, "\r\n") {
		t.Errorf("subject %q\n%s", m.Subject, m.HTML)
	}
}

func TestOperatorsTemplates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "upgrade_prompt.subject.txt", "Mine: {{.Feature}}\n")
	write(t, dir, "upgrade_prompt.de.txt", "Das Kontingent {{.Feature}} ist erreicht.")
	write(t, dir, "upgrade_prompt.pt-BR.txt", "Olá")
	write(t, dir, "README.md", "{{not a template")
	for locale, want := range map[string]string{"de": "Das Kontingent api", "de-AT": "Das Kontingent api", "DE_at": "Das Kontingent api",
		"pt_BR": "Olá", "pt": "Upgrade now", "": "Upgrade now", "fr": "Upgrade now"} {
		m, err := previewOf(preview(dir), "api", locale)
		if err != nil || m.Subject != "Mine: api" || !strings.Contains(m.Text, want) || !strings.Contains(m.HTML, "<!doctype html>") {
			t.Errorf("%q: %v, %q, %q", locale, err, m.Subject, m.Text)
		}
	}
}

// Mistakes are reported at the start, all of them, with file and line.
func TestTemplateMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"syntax":        {map[string]string{"upgrade_prompt.html": "<p>\n{{if}}</p>"}, []string{"upgrade_prompt.html:2: missing value for if"}},
		"unknown field": {map[string]string{"upgrade_prompt.txt": "\n\n{{.Name}}"}, []string{"upgrade_prompt.txt:3:", "Name"}},
		"two files":     {map[string]string{"a.txt": "{{.X}}", "b.html": "{{range}}"}, []string{"b.html:1:"}},
		"context":       {map[string]string{"upgrade_prompt.html": `<a href="{{if .Plan}}x">{{else}}y'>{{end}}`}, []string{"upgrade_prompt.html:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.files {
				write(t, dir, file, text)
			}
			_, err := previewOf(preview(dir), "", "")
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
	if _, err := previewOf(preview(filepath.Join(t.TempDir(), "none")), "", ""); err != nil {
		t.Errorf("no such folder: %v", err)
	}
	file := t.TempDir()
	write(t, file, "file", "")
	if _, err := previewOf(preview(filepath.Join(file, "file")), "", ""); err == nil || !strings.HasPrefix(err.Error(), "mail.templates: ") {
		t.Errorf("a file as folder: %v", err)
	}
	o := preview("")
	o.From = "nobody"
	if _, err := previewOf(o, "", ""); err == nil || !strings.Contains(err.Error(), "`from`") {
		t.Errorf("from: %v", err)
	}
	o = preview("")
	o.Catalog = func() gate.Catalog { c := catalog(); c.Gates[0].Template = "nudge"; return c }
	if _, err := previewOf(o, "", ""); err == nil || !strings.HasPrefix(err.Error(), "gates[0].action.upgrade_prompt.template: ") || !strings.Contains(err.Error(), "nudge.html") {
		t.Errorf("template: %v", err)
	}
}

func TestFileSender(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	s, err := NewFileSender(dir)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := previewOf(Options{Catalog: catalog, Settings: Settings{From: `"Ácme" <billing@acme.example>`, PublicURL: "https://gate.acme.example"}, Secret: []byte("s")}, "api", "")
	if err != nil {
		t.Fatal(err)
	}
	msg.Subject = "Grüße – " + msg.Subject
	body, _ := msg.encode()
	m := Mail{Key: "limit-reached/1", At: noon, Body: body}
	for range 2 { // the same mail is the same file
		id, err := s.Send(context.Background(), m)
		if err != nil || id != "20260301T120000Z-"+keyHash(m.Key)+".eml" {
			t.Fatalf("%s, %v", id, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	text, html := readMail(t, raw, msg)
	if strings.ReplaceAll(text, "\r\n", "\n") != msg.Text || strings.ReplaceAll(html, "\r\n", "\n") != msg.HTML {
		t.Errorf("text %q\nhtml %q", text, html)
	}
	for i, line := range strings.Split(string(raw), "\n") {
		if len(line) > 998 {
			t.Errorf("line %d has %d bytes", i+1, len(line))
		}
	}
	if _, err := s.Send(context.Background(), Mail{Key: "k", At: noon, Body: []byte(`{"from":"a@b.example","to":["no address"]}`)}); asSendError(err).Class != Permanent {
		t.Errorf("a bad address: %v", err)
	}
	for range 2 { // the second time there is none
		if err := s.Forget(files[0].Name()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Forget("../" + filepath.Base(dir)); err != nil { // a name is that of a file in the folder
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// readMail reads a file as a mail program does.
func readMail(t *testing.T, raw []byte, want *Message) (text, html string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != want.Subject {
		t.Errorf("subject %q, %v", subject, err)
	}
	from, err := m.Header.AddressList("From")
	if err != nil || from[0].Name != "Ácme" || from[0].Address != "billing@acme.example" {
		t.Errorf("from %v, %v", from, err)
	}
	if date, err := m.Header.Date(); err != nil || !date.Equal(noon) || m.Header.Get("Message-ID") == "" {
		t.Errorf("date %v, %v, id %s", date, err, m.Header.Get("Message-ID"))
	}
	for name, value := range want.Headers {
		if m.Header.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, m.Header.Get(name), value)
		}
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %s, %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var bodies []string
	for _, want := range []string{"text/plain", "text/html"} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); kind != want {
			t.Errorf("part is %s, want %s", kind, want)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(b))
	}
	return bodies[0], bodies[1]
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	h := func(pairs ...string) map[string][]string {
		out := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			out[strings.ToUpper(pairs[i][:1])+pairs[i][1:]] = []string{pairs[i+1]}
		}
		return out
	}
	for name, c := range map[string]struct {
		status int
		header map[string][]string
		stop   time.Duration
		limit  float64
	}{
		"says nothing":  {200, h(), 0, 2},
		"says its rate": {200, h("Ratelimit-Limit", "10", "Ratelimit-Remaining", "9", "Ratelimit-Reset", "1"), 0, 10},
		"nothing left":  {200, h("Ratelimit-Limit", "4", "Ratelimit-Remaining", "0", "Ratelimit-Reset", "2"), 2 * time.Second, 2},
		"refused":       {429, h("Retry-After", "3"), 3 * time.Second, 2},
		"refused until": {429, h("Retry-After", noon.Add(5*time.Second).Format("Mon, 02 Jan 2006 15:04:05 GMT")), 5 * time.Second, 2},
		"a quota":       {429, h("Retry-After", "86400"), 0, 2},
		"nonsense":      {429, h("Retry-After", "NaN", "Ratelimit-Limit", "-1", "Ratelimit-Reset", "soon"), 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			th := newThrottle()
			th.observe(c.status, c.header, noon)
			if stop := max(0, th.until.Sub(noon)); stop != c.stop || float64(th.bucket.Limit()) != c.limit {
				t.Errorf("stops for %v at %v a second", stop, th.bucket.Limit())
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	th := newThrottle()
	th.until = time.Now().Add(time.Hour)
	cancel()
	if th.wait(ctx) == nil {
		t.Error("an ended context waits")
	}
}
