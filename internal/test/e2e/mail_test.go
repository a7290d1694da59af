package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

const reportSecret = "whsec_cmVwb3J0cyBhcmUgc2lnbmVk"

// reports posts a webhook of Resend about a mail, and returns the status.
func (in *installation) reports(kind, key, secret string) int {
	in.t.Helper()
	body := fmt.Sprintf(`{"type":%q,"created_at":%q,"data":{"email_id":"mail-1","tags":{"tidegate_key":%q},"bounce":{"type":"Permanent","message":"no such user"}}}`,
		kind, time.Now().UTC().Format(time.RFC3339), strings.Replace(key, "/", "_", 1))
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		in.t.Fatal(err)
	}
	stamp, h := fmt.Sprint(time.Now().Unix()), hmac.New(sha256.New, raw)
	fmt.Fprintf(h, "msg_%s.%s.%s", kind, stamp, body)
	req, err := http.NewRequest(http.MethodPost, in.http+"/webhooks/resend", strings.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	for name, v := range map[string]string{"svix-id": "msg_" + kind, "svix-timestamp": stamp, "svix-signature": "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))} {
		req.Header.Set(name, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode >= 400 && ct != "application/problem+json" {
		in.t.Errorf("%d with content type %q", resp.StatusCode, ct)
	}
	return resp.StatusCode
}

// mailTo waits for the only mail to an address.
func (in *installation) mailTo(address string) (found message) {
	in.t.Helper()
	wait.Until(in.t, "the mail to "+address, func() error {
		n := 0
		for _, m := range in.mails.mails() {
			if len(m.To) == 1 && m.To[0] == address {
				found, n = m, n+1
			}
		}
		if n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	return found
}

// TestMailInProduction reads an address from the app's collection, edits settings, and
// reports a bounce.
func TestMailInProduction(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	in.env = []string{"RESEND_WEBHOOK_SECRET=" + reportSecret}
	configured := strings.Replace(production, "    action:", "    email_from: {collection: users, key: user_id, field: mail.address}\n    action:", 1)
	configure := func(text string) {
		t.Helper()
		if err := os.WriteFile(in.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(configured)
	db := in.documents()
	for customer, address := range map[string]string{"acme": "ada@acme.example", "other": "bob@other.example"} {
		if _, err := db.Collection("users").InsertOne(t.Context(), bson.M{"user_id": customer, "mail": bson.M{"address": address}}); err != nil {
			t.Fatal(err)
		}
	}
	in.startNATS()
	p := in.serve(everyRole)
	in.ready()
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 10)), 10)
	if m := in.mailTo("ada@acme.example"); m.From != "Acme <billing@acme.example>" {
		t.Errorf("from %s", m.From)
	}
	var key string
	document(t, db.Collection("notifications"), "acme", func(d bson.M) error {
		key, _ = d["key"].(string)
		return has(d, bson.M{"state": "sent"})
	})

	configure(strings.Replace(configured, "from: Acme <billing@", "from: Acme <hello@", 1))
	p.Says("configuration_taken_over")
	in.post("application/x-ndjson", sample.Lines(sample.Events("other", "use", 10)), 10)
	if m := in.mailTo("bob@other.example"); m.From != "Acme <hello@acme.example>" {
		t.Errorf("from %s", m.From)
	}
	configure(strings.Replace(configured, "template: upgrade_prompt", "template: nudge", 1))
	p.Says("configuration_ignored")
	p.Says("there is no mail template")

	if status := in.reports("email.bounced", key, hookOf("another")); status != http.StatusBadRequest {
		t.Errorf("a report with another signature: %d", status)
	}
	for range 2 {
		if status := in.reports("email.bounced", key, reportSecret); status != http.StatusNoContent {
			t.Errorf("a report: %d", status)
		}
	}
	document(t, db.Collection("notifications"), "acme", func(d bson.M) error { return has(d, bson.M{"state": "bounced", "error": "no such user"}) })
	document(t, db.Collection("customers"), "acme", func(d bson.M) error { return has(d, bson.M{"suppressed": "bounced"}) })
	for _, secret := range []string{reportSecret, "re_test", "links are signed"} {
		if strings.Contains(p.Stderr.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if code := p.Interrupt(); code != exitOK {
		t.Errorf("exit %d", code)
	}
}

func hookOf(secret string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))
}
