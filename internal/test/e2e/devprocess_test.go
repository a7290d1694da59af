package e2e

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// development is `tidegate dev`, which can be started again with its data.
type development struct {
	gateway
	*testprocess.Process
	dir string
}

// newDevelopment starts `tidegate dev` on free ports. An empty configuration means the
// built-in example.
func newDevelopment(t testing.TB, configuration string, env ...string) *development {
	t.Helper()
	dir := t.TempDir()
	d := &development{gateway: gateway{t: t, http: "127.0.0.1:0", nats: "127.0.0.1:-1", config: filepath.Join(dir, "tidegate.yaml"), env: env}, dir: dir}
	d.configure(cmp.Or(configuration, config.ExampleYAML))
	d.start()
	return d
}

// configure writes the configuration, as an editor does.
func (d *development) configure(text string) {
	d.gateway.t.Helper()
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		d.gateway.t.Fatal(err)
	}
}

// start starts dev and waits until it prints its addresses. A restarted dev has the same
// addresses.
func (d *development) start() {
	t := d.gateway.t
	t.Helper()
	d.Process = testprocess.Start(t, "dev", testprocess.Tidegate(t), d.env, "dev", "--config", d.config, "--data", d.data(),
		"--http", strings.TrimPrefix(d.http, "http://"), "--nats", strings.TrimPrefix(d.nats, "nats://"))
	d.Says("Tidegate is running.")
	d.http, d.nats, d.hook = d.printed("HTTP and web page"), d.printed("NATS"), d.printed("Webhook secret")
}

func (d *development) data() string { return filepath.Join(d.dir, "data") }

// printed returns a value from dev's output.
func (d *development) printed(label string) string {
	for line := range strings.Lines(d.Stdout.String()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), label+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	d.gateway.t.Fatalf("dev does not print %q:\n%s", label, d.Stdout.String())
	return ""
}

// letter is a mail in the outbox.
type letter struct {
	mail.Header
	text, html string
}

// outbox waits for a number of mails and returns the one to an address.
func (d *development) outbox(n int, to string) letter {
	t := d.gateway.t
	t.Helper()
	var found *letter
	wait.Until(t, fmt.Sprintf("%d mails, one to %s", n, to), func() error {
		letters := d.letters()
		found = nil
		for i, l := range letters {
			if strings.Contains(l.Get("To"), to) {
				found = &letters[i]
			}
		}
		if len(letters) != n || found == nil {
			return fmt.Errorf("there are %d", len(letters))
		}
		return nil
	})
	return *found
}

func (d *development) letters() (all []letter) {
	t := d.gateway.t
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.data(), "outbox", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l, err := parseLetter(b)
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, b)
		}
		all = append(all, l)
	}
	return all
}

// parseLetter reads a mail with a text part and an HTML part.
func parseLetter(b []byte) (l letter, err error) {
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		return l, err
	}
	l.Header = m.Header
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return l, fmt.Errorf("content type %s: %w", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextPart() // decodes quoted-printable
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		text, err := io.ReadAll(decoded(part))
		if err != nil {
			return l, err
		}
		switch kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind {
		case "text/plain":
			l.text = string(text)
		case "text/html":
			l.html = string(text)
		}
	}
}

func decoded(part *multipart.Part) io.Reader {
	if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		return quotedprintable.NewReader(part)
	}
	return part
}

// webhooks sends signed webhooks of Stripe.
func (g *gateway) webhooks(hooks []fold.Webhook) {
	g.t.Helper()
	for _, h := range hooks {
		req, err := http.NewRequest("POST", g.http+"/webhooks/stripe", bytes.NewReader(h.Payload))
		if err != nil {
			g.t.Fatal(err)
		}
		req.Header.Set("Stripe-Signature", fold.Sign(h.Payload, g.hook, time.Now()))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			g.t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			g.t.Fatalf("webhook %s: %s", h.Type, resp.Status)
		}
	}
}

// hasLinks fails unless both parts of a mail have an upgrade link, and the header an
// unsubscribe link.
func (l letter) hasLinks(t testing.TB) {
	t.Helper()
	for name, part := range map[string]string{"text": l.text, "HTML": l.html} {
		if !strings.Contains(part, "/u/") {
			t.Errorf("the %s part has no link to the upgrade:\n%s", name, part)
		}
	}
	link := strings.Trim(l.Get("List-Unsubscribe"), "<>")
	if u, err := url.Parse(link); err != nil || !strings.Contains(u.Path, "/unsubscribe/") {
		t.Errorf("List-Unsubscribe is %q", link)
	}
	if l.Get("Subject") == "" || l.Get("From") == "" {
		t.Errorf("the mail lacks a subject or a sender: %v", l.Header)
	}
}
