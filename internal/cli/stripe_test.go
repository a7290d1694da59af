package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/teststripe"
)

func TestStripeSetup(t *testing.T) {
	stripe := teststripe.New(t)
	shop := strings.Replace(sample.Config, "pricing}", "pricing, portal: true}", 1)
	config := filepath.Join(t.TempDir(), "tidegate.yaml")
	if err := os.WriteFile(config, []byte("public_url: https://gate.acme.example\n"+shop), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TIDEGATE_CONFIG", config)
	setup := func(args ...string) (r endpointReport) {
		t.Helper()
		code, out, stderr := command(t, "", append([]string{"--output", "json", "stripe", "setup"}, args...)...)
		if code != exitOK || json.Unmarshal([]byte(out), &r) != nil {
			t.Fatalf("setup %v: %d %s%s", args, code, out, stderr)
		}
		return r
	}
	const mine = "https://gate.acme.example/webhooks/stripe"
	if r := setup(); r.Action != "none" || r.URL != mine || !slices.Contains(r.Events, "invoice.paid") || r.Secret != "" {
		t.Errorf("without a key: %+v", r)
	}
	code, out, _ := command(t, "", "stripe", "setup")
	if code != exitOK || !strings.Contains(out, "dashboard") || !strings.Contains(out, mine) || !strings.Contains(out, "customer.subscription.updated") {
		t.Errorf("without a key: %s", out)
	}
	if _, out, _ := command(t, "", "doctor"); !strings.Contains(out, "links in mails lead to upgrade.url") {
		t.Errorf("doctor does not miss the key:\n%s", out)
	}
	if code, _, stderr := command(t, "", "stripe", "sync"); code != exitUsage || !strings.Contains(stderr, "STRIPE_SECRET_KEY") {
		t.Errorf("sync without a key: %d %s", code, stderr)
	}
	t.Setenv("STRIPE_SECRET_KEY", stripe.Key)
	t.Setenv("STRIPE_API_BASE", stripe.URL)
	made := setup()
	if made.Action != "created" || !strings.HasPrefix(made.Secret, "whsec_") || made.URL != mine || made.APIVersion != "2023-10-16" || len(made.Events) < 18 {
		t.Fatalf("first: %+v", made)
	}
	if r := setup(); r.Action != "unchanged" || r.ID != made.ID || r.Secret != "" {
		t.Errorf("second: %+v", r)
	}
	o := stripe.Get(made.ID)
	o["enabled_events"] = []string{"invoice.paid"}
	stripe.Put(o)
	if r := setup(); r.Action != "updated" || r.ID != made.ID || len(r.Events) != len(made.Events) {
		t.Errorf("third: %+v", r)
	}
	_, out, _ = command(t, "", "stripe", "setup", "--url", "https://other.example/webhooks/stripe")
	if want := stripe.Get("we_0002")["secret"].(string); strings.Count(out, want) != 1 || !strings.Contains(out, "STRIPE_WEBHOOK_SECRET") {
		t.Errorf("the secret is to be shown once: %s", out)
	}
	stripe.Key = "another"
	if code, out, stderr := command(t, "", "stripe", "setup"); code != exitFailed || strings.Contains(out+stderr, "51Tidegate") || !strings.Contains(stderr, "STRIPE_SECRET_KEY") {
		t.Errorf("with a wrong key: %d %s%s", code, out, stderr)
	}
	if err := os.WriteFile(config, []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, "", "stripe", "setup"); code != exitUsage || !strings.Contains(stderr, "--url") {
		t.Errorf("without an address: %d %s", code, stderr)
	}
}
